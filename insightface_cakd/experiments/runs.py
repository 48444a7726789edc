"""The runs of a comparison, which differ in the recipe alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from insightface_cakd.data.faces.sets import write_face_set
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.pairs import PairTables, measure_on_pairs, shared_sets
from insightface_cakd.experiments.table import ALONE, TEACHER, Row, Run, rank, remarks, table
from insightface_cakd.hosts import generations
from insightface_cakd.recipe import Recipe, load_recipe, with_stages
from insightface_cakd.recipe.settings import given
from insightface_cakd.recipe.teacher import CACHED
from insightface_cakd.report.teaching import weak_teacher
from insightface_cakd.runtime.atomic import write_json, write_text
from insightface_cakd.runtime.folder_lock import only_writer
from insightface_cakd.runtime.progress import Progress, progress_bar
from insightface_cakd.runtime.run_folder import RESULT, RunFolder
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from insightface_cakd.tasks.precompute import cache_teacher, make_prototypes

CACHE, DATA, PROTOTYPES = "cache", "data", "prototypes"


@dataclass(frozen=True)
class Comparison:
    """Settings of a comparison.

    Args:
        seeds: seeds of weights, order and, if faces are drawn, of the faces; every recipe is trained once per seed.
        teacher: config by which a teacher is trained for each seed, or the file of one teacher for all seeds.
        data: folder with train.rec and the verification sets; None draws faces for each seed.
        centres: files of the teacher's class centres, for recipes that need them; a teacher trained here has its own.
        settings: `key=value` overrides of every student's config.
        recipe_settings: `KEY=VALUE` changes to every recipe, such as the network of the teacher's file.
        cache: compute the teacher's embeddings of all images of a seed once, and train from them where a recipe reads
            only the embedding.
    """

    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    student: str = "faces_cnn_tiny"
    teacher: str = "faces_vit_tiny"
    data: Path | None = None
    centres: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    recipe_settings: tuple[str, ...] = ()
    cache: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a comparison found.

    Args:
        rows: first the teacher, if it was trained here, then the others by gain, the largest first.
        seeds: of the runs.
        pairs: all students on the same pairs; None where each seed has its own.
    """

    rows: list[Row]
    seeds: tuple[int, ...]
    pairs: PairTables | None

    def text(self) -> str:
        """Return tables and remarks in Markdown."""
        more = [] if self.pairs is None else [self.pairs.text()]
        return "\n\n".join([table(self.rows, self.seeds), *remarks(self.rows), *more])


def compare(output: Path, comparison: Comparison) -> Outcome:
    """Train the missing runs, and write `compare.md` and `compare.json`.

    Where all seeds share their verification sets, the students are then measured together on the same pairs: `pairs.json`.

    Runs are in `output/SEED/NAME`. Finished runs are reused and stopped ones resumed, so that a comparison can be
    interrupted and recipes added later. A recipe with stages trains its students longer than the others.

    """
    names = {_name(recipe): recipe for recipe in comparison.recipes}
    taken = (ALONE, TEACHER, CACHE, DATA, PROTOTYPES)
    if len(names) < len(comparison.recipes) or names.keys() & set(taken):
        raise RunError(
            f"compare: recipes {', '.join(comparison.recipes)}; expected different names, none of {', '.join(taken)}. Rename a file."
        )
    if not comparison.seeds:
        raise RunError("compare: no seed; expected at least one. Pass --seeds 2048,2049,2050.")
    # All recipes are read first, so that a faulty one is found before hours of training.
    read = {name: load_recipe(recipe, comparison.recipe_settings) for name, recipe in names.items()}
    with only_writer(output):
        rows = rank(_run_all(output, comparison, names, read))
        shared = shared_sets(output, comparison.data, comparison.seeds)
        methods = [row.name for row in rows]
        pairs = measure_on_pairs(output, shared, methods, comparison.seeds) if shared else None
        outcome = Outcome(rows, comparison.seeds, pairs)
        write_json(output / "compare.json", {row.name: [vars(run) for run in row.runs] for row in rows})
        if pairs is not None:
            write_json(output / "pairs.json", pairs.facts())
        write_text(output / "compare.md", f"{outcome.text()}\n", RunError)
    return outcome


def _run_all(
    output: Path, comparison: Comparison, names: dict[str, str], read: dict[str, Recipe]
) -> dict[str, list[Run]]:
    """Return the runs of each name, one a seed; train those that are missing."""
    results: dict[str, list[Run]] = {}
    for seed in comparison.seeds:
        runs = SeedRuns(comparison, output / str(seed), seed)
        if runs.trains_teacher:
            results.setdefault(TEACHER, []).append(runs.run(TEACHER))
        results.setdefault(ALONE, []).append(runs.run(ALONE))
        if runs.trains_teacher and (line := weak_teacher(results[TEACHER][-1].accuracy, results[ALONE][-1].accuracy)):
            print(f"seed {seed}: {line}", flush=True)
        for name, path in names.items():
            taught = Job(comparison.student, path, runs.files(path, read[name]))
            results.setdefault(name, []).append(runs.run(name, taught))
    return results


def _name(recipe: str) -> str:
    return Path(recipe).stem


class SeedRuns:
    """The runs of one seed, and the files that they share.

    Each shared file is made once.
    """

    def __init__(self, comparison: Comparison, folder: Path, seed: int) -> None:
        self.comparison = comparison
        self.folder = folder
        self.seed = seed
        self.trains_teacher = not Path(comparison.teacher).exists()
        self.data = comparison.data or self._made(DATA, "faces", self._draw)

    def run(self, name: str, job: Job | None = None) -> Run:
        """Return a finished run; train it, or the rest of it, first."""
        comparison, output = self.comparison, self.folder / name
        if not RunFolder(output).finished:
            print(f"\nseed {self.seed}: {name}", flush=True)
            job = job or Job(comparison.teacher if name == TEACHER else comparison.student)
            settings = (f"seed={self.seed}", *(() if name == TEACHER else comparison.settings), *job.settings)
            train(replace(job, settings=settings, data=self.data, output=output, auto_resume=True))
        return _read(output)

    def files(self, path: str, recipe: Recipe) -> tuple[str, ...]:
        """Return the changes to a recipe; make missing files."""
        teacher, centres, more = self.comparison.teacher, self.comparison.centres, self.comparison.recipe_settings
        if self.trains_teacher:
            trained = self.folder / TEACHER
            teacher = str(RunFolder(trained).model)
            centres = centres or (str(generations.checkpoint_path(trained, 0)),)
        if self.comparison.cache and not recipe.needs_network:
            weights = (*more, *given(teacher))
            teacher = str(
                self._made(CACHE, "teacher", lambda out, bar: cache_teacher(path, self.data, out, weights, bar))
            )
        prototypes = None
        if recipe.needs_prototypes:
            asked = (*more, *given(teacher))
            made = self._made(
                PROTOTYPES, "prototypes", lambda out, bar: make_prototypes(path, self.data, out, asked, progress=bar)
            )
            prototypes = str(made)
        wanted = centres if any(one.needs_centres for one in with_stages(recipe)) else ()
        # A cache says what its network is, so files come last.
        return (*more, *given(teacher, wanted, prototypes))

    def _made(self, name: str, title: str, make: Callable[[Path, Progress], object]) -> Path:
        """Return a folder of the seed; make it first if missing."""
        made = self.folder / name
        if not made.exists():
            with progress_bar(f"{title} of seed {self.seed}") as progress:
                make(made, progress)
        return made

    def _draw(self, data: Path, progress: Progress) -> None:
        data.parent.mkdir(parents=True, exist_ok=True)
        write_face_set(data, seed=self.seed, progress=progress)


def _read(output: Path) -> Run:
    """Read the measurements of a run."""
    run = RunFolder(output)
    result = run.result
    if not result.accuracy or not result.steps or result.seconds is None:
        raise RunError(
            f"{output / RESULT}: no usable result; expected the accuracy on at least one verification set. Set val_targets to sets in the "
            "data folder, and remove this run's folder."
        )
    cached = run.recipe is not None and run.recipe["teacher"].get("network") == CACHED
    known = {} if run.teacher is None else run.teacher.sets
    measured = [known[name] for name in result.accuracy if name in known]
    teacher = mean(measured) if measured else None
    return Run(mean(result.accuracy.values()), result.seconds / result.steps, cached, teacher)
