"""The runs of a comparison: data, teacher, config, schedule and seed are the same; the recipe alone differs."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from insightface_cakd.data.faces.sets import write_face_set
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.table import ALONE, TEACHER, Row, Run, rank, table
from insightface_cakd.hosts.embedded.checkpoint import checkpoint_path
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.teacher import CACHED
from insightface_cakd.runtime.atomic import replacing, write_json
from insightface_cakd.runtime.progress import progress_bar
from insightface_cakd.runtime.run_folder import RESULT, RunFolder
from insightface_cakd.tasks.launch import Job, train
from insightface_cakd.tasks.precompute import cache_teacher, make_prototypes

CACHE, DATA, PROTOTYPES, SOFTMAX = "cache", "data", "prototypes", "softmax"
# The first run of a recipe whose student starts from trained weights.
PLAIN_SOFTMAX = ("margin_list=(1.0, 0.0, 0.0)",)


@dataclass(frozen=True)
class Comparison:
    """What is compared, and on which terms.

    Args:
        recipes: by name or path.
        seeds: each gives its own weights, order and, where they are drawn, faces.
        student: config of every student.
        teacher: config by which a teacher is trained for each seed, or the file of one that teaches in all.
        data: folder with train.rec and the verification sets; faces are drawn for each seed when not given.
        centres: files of the teacher's class centres, for recipes that need them; a teacher trained here brings its own.
        settings: `key=value` overrides of every student's config.
        cache: ask the teacher once for all images of a seed, and train from its answers where a recipe reads its embedding only.
    """

    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    student: str = "faces_cnn_tiny"
    teacher: str = "faces_vit_tiny"
    data: Path | None = None
    centres: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    cache: bool = False


def compare(output: Path, comparison: Comparison) -> list[Row]:
    """Train what is not there yet, and write `compare.md` and `compare.json`.

    Runs lie in `output/SEED/NAME`; finished ones are taken as they are and stopped ones go on, so that a comparison may be broken off, and
    recipes be added later. A recipe whose student starts from trained weights, and that names none, gets those of a run like `alone`
    without a margin: its students train twice as long as the others.

    Args:
        output: folder of everything.
        comparison: what to run.

    Returns:
        The rows: the teacher, if it was trained here; the rest by gain, the largest first.

    Raises:
        CAKDError: a run cannot start, or a seed, recipe or result is not usable.
    """
    names = {_name(recipe): recipe for recipe in comparison.recipes}
    taken = (ALONE, TEACHER, CACHE, DATA, PROTOTYPES, SOFTMAX)
    if len(names) < len(comparison.recipes) or names.keys() & set(taken):
        raise RunError(
            f"compare: recipes {', '.join(comparison.recipes)}; expected different names, none of {', '.join(taken)}. Rename a file."
        )
    if not comparison.seeds:
        raise RunError("compare: no seed; expected at least one. Pass --seeds 2048,2049,2050.")
    # A recipe that cannot be read is found before hours of training.
    read = {name: load_recipe(recipe) for name, recipe in names.items()}
    results: dict[str, list[Run]] = {}
    for seed in comparison.seeds:
        folder = output / str(seed)
        data = _data(comparison, folder, seed)
        teacher, centres = _teacher(comparison, folder, data, seed, results)
        results.setdefault(ALONE, []).append(_run(comparison, folder, data, seed, ALONE))
        for name, recipe in names.items():
            live = not comparison.cache or read[name].needs_network
            asked = teacher if live else _cache(folder, data, recipe, teacher)
            job = Job(
                "",
                recipe,
                asked,
                centres if read[name].needs_centres else (),
                prototypes=_prototypes(folder, data, recipe, asked) if read[name].needs_prototypes else None,
                init=_softmax(comparison, folder, data, seed) if read[name].lacks_init else None,
            )
            run = _run(comparison, folder, data, seed, name, job)
            results.setdefault(name, []).append(run)
    rows = rank(results)
    write_json(output / "compare.json", {row.name: [vars(run) for run in row.runs] for row in rows})
    with replacing(output / "compare.md") as temporary:
        temporary.write_text(table(rows, comparison.seeds) + "\n", encoding="utf-8")
    return rows


def _name(recipe: str) -> str:
    return Path(recipe).stem


def _data(comparison: Comparison, folder: Path, seed: int) -> Path:
    """Return the folder with the records, drawn where none is given."""
    if comparison.data is not None:
        return comparison.data
    data = folder / DATA
    if not data.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with progress_bar(f"faces of seed {seed}") as progress:
            write_face_set(data, seed=seed, progress=progress)
    return data


def _teacher(
    comparison: Comparison, folder: Path, data: Path, seed: int, results: dict[str, list[Run]]
) -> tuple[str, tuple[str, ...]]:
    """Return the teacher's weights and class centres; train it where a config is given."""
    if Path(comparison.teacher).exists():
        return comparison.teacher, comparison.centres
    run = _run(comparison, folder, data, seed, TEACHER)
    results.setdefault(TEACHER, []).append(run)
    trained = folder / TEACHER
    return str(RunFolder(trained).model), comparison.centres or (str(checkpoint_path(trained, 0)),)


def _prototypes(folder: Path, data: Path, recipe: str, teacher: str) -> str:
    """Return the folder of what the teacher makes of the data, made once for all recipes of a seed."""
    made = folder / PROTOTYPES
    if not made.exists():
        with progress_bar("prototypes") as progress:
            make_prototypes(recipe, data, made, teacher, progress=progress)
    return str(made)


def _softmax(comparison: Comparison, folder: Path, data: Path, seed: int) -> str:
    """Return the weights of a student that has learnt the classes without a margin; its run stands in no row."""
    _run(comparison, folder, data, seed, SOFTMAX, Job("", settings=PLAIN_SOFTMAX))
    return str(RunFolder(folder / SOFTMAX).model)


def _cache(folder: Path, data: Path, recipe: str, teacher: str) -> str:
    """Return the folder with what the teacher says to all images of a seed; written once."""
    cache = folder / CACHE
    if not cache.exists():
        with progress_bar("teacher") as progress:
            cache_teacher(recipe, data, cache, teacher, progress)
    return str(cache)


def _run(comparison: Comparison, folder: Path, data: Path, seed: int, name: str, taught: Job | None = None) -> Run:
    """Return a finished run; train it, or the rest of it, first."""
    output = folder / name
    if not RunFolder(output).finished:
        print(f"\nseed {seed}: {name}", flush=True)
        base = () if name == TEACHER else comparison.settings
        settings = (f"rec={str(data)!r}", f"output={str(output)!r}", f"seed={seed}", *base)
        given = taught or Job("")
        settings += given.settings
        config = comparison.teacher if name == TEACHER else comparison.student
        resume = checkpoint_path(output, 0).exists()
        files = (given.distill, given.teacher, given.centres)
        train(Job(config, *files, settings, resume, prototypes=given.prototypes, init=given.init))
    return _read(output)


def _read(output: Path) -> Run:
    """Read what a run measured.

    Raises:
        RunError: a file is damaged, or the run measured nothing.
    """
    run = RunFolder(output)
    result = run.result
    if not result.accuracy or not result.steps or result.seconds is None:
        raise RunError(
            f"{output / RESULT}: no usable result; expected the accuracy on at least one verification set. Set val_targets to sets in the "
            "data folder, and remove this run's folder."
        )
    cached = run.recipe is not None and run.recipe["teacher"].get("network") == CACHED
    return Run(mean(result.accuracy.values()), result.seconds / result.steps, cached)
