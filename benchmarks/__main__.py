"""`python -m benchmarks`: benchmarks for developers.

They run in a checkout of this repository, with the package installed.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.cache_lookup import bench_cache
from benchmarks.curve import curve_table, draw_curves, read_points
from benchmarks.heads import HeadSize, bench_head
from benchmarks.ijb import bench_ijb
from benchmarks.ijb_draw import size_of
from benchmarks.ijb_extract import bench_extraction
from benchmarks.kills import kills as killed_runs
from benchmarks.liveness import bench_liveness
from benchmarks.long_jobs import jobs_table, long_jobs
from benchmarks.long_run import long_run, quarters
from benchmarks.low_resolution import bench_low_resolution
from benchmarks.on_gpu import Plan, on_gpu
from benchmarks.predicted import predicted_table
from benchmarks.reading import reading
from benchmarks.seeds import seeds_table
from benchmarks.students import student_steps, table
from benchmarks.tuning import tune as tuned
from insightface_cakd.errors import CAKDError, EvaluationError, RunError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.ijb.evaluate import Question
from insightface_cakd.evaluate.ijb.presets import Target
from insightface_cakd.evaluate.liveness.models import load_live_model
from insightface_cakd.evaluate.liveness.scoring import Input
from insightface_cakd.evaluate.pairs.sets import find_sets, load_sets
from insightface_cakd.experiments.pairs import measure_on_pairs
from insightface_cakd.experiments.runs import Comparison
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.runtime.atomic import write_json, write_text
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.run_folder import RunFolder

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("head")
def head(
    classes: Annotated[int, typer.Option(min=1, help="Classes of all ranks.")] = 1_000_000,
    ranks: Annotated[int, typer.Option(min=1, help="Processes, all on this machine's CPU.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Samples a rank.")] = 8,
    width: Annotated[int, typer.Option(min=1, help="Width of the embeddings.")] = 64,
    sample_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of the classes used in a step.")] = 1.0,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps of each kind.")] = 3,
) -> None:
    """Measure time and memory of a step of the class-sharded head.

    For the plain head, with kd and with gkd.
    \f
    Args:
        classes: number of classes of all ranks.
        ranks: number of processes, all on this machine's CPU.
        batch: samples per rank.
        width: width of the embeddings.
        sample_rate: share of the classes used in a step, in [0, 1].
        steps: timed steps of each kind.
    """
    print(bench_head(HeadSize(classes, width, batch, sample_rate, steps), ranks))


@app.command("ijb")
def ijb(
    host: Annotated[Path | None, typer.Option(help="Checkout of arcface_torch to time beside; $ARCFACE_TORCH.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Image embeddings.")] = 469_375,
    templates: Annotated[int, typer.Option(min=2, help="Templates of them.")] = 23_124,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of templates.")] = 15_658_489,
    among: Annotated[bool, typer.Option(help="Pairs of any templates, not of galleries and probes.")] = False,
    model: Annotated[Path | None, typer.Option(help="Time the extraction of this model's embeddings instead.")] = None,
    root: Annotated[Path | None, typer.Option(help="IJB tree for --model.")] = None,
    target: Annotated[Target, typer.Option(help="IJBB or IJBC, for --model.")] = "IJBC",
    network: Annotated[str | None, typer.Option(help="Network of .pt weights, for --model.")] = None,
) -> None:
    """Measure an IJB evaluation against upstream's functions.

    Seconds and memory of lists, templates, scores and ROC, on a random set of IJB-C's size. With --model and --root
    instead: faces per second from images to embeddings, against upstream's loop.

    Example: `python -m benchmarks ijb --host ~/insightface/recognition/arcface_torch`
    \f
    Args:
        host: checkout of arcface_torch to time against; None takes $ARCFACE_TORCH, and without it times ours alone.
        images: number of image embeddings.
        templates: number of templates.
        pairs: number of pairs of templates.
        among: pairs of any two templates, instead of galleries and probes.
        model: model whose extraction of embeddings is timed instead.
        root: IJB tree for the model.
        target: IJBB or IJBC, for the model.
        network: name of the network of .pt weights.
    """
    named = host or os.environ.get("ARCFACE_TORCH")
    checkout = Path(named) if named else None
    if (model is None) != (root is None):
        raise RunError("ijb: --model and --root go together; expected both or none. Give the other one too.")
    if model is not None and root is not None:
        print(bench_extraction(Question(model, root, target, network=network), checkout))
    else:
        print(bench_ijb(size_of(images, templates, pairs, among), checkout))


@app.command("kills")
def kills(
    folder: Annotated[Path, typer.Argument(help="A new folder for the runs.")],
    times: Annotated[int, typer.Option(min=1, help="Number of kills.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill training runs with SIGKILL at random moments, and go on with them.

    Prints how many end bit for bit like a run that was not killed; exits with 1 if one does not.

    Example: `python -m benchmarks kills kills --times 40`
    \f
    Args:
        folder: a new folder for the runs.
        times: number of kills.
        seed: of the moments.
    """
    equal = 0
    for number, kill in enumerate(killed_runs(folder, times, seed), start=1):
        equal += not kill.faults
        said = "equal" if not kill.faults else "; ".join(kill.faults)
        print(f"{number}/{times}: {kill.case}: killed in {kill.moment}, after step {kill.after}: {said}", flush=True)
    print(f"{equal} of {times} killed runs end bit for bit like runs that were not killed")
    raise SystemExit(equal != times)


@app.command("cache")
def cache(
    folder: Annotated[Path, typer.Argument(help="A new folder for the cache: 16 bytes a key.")],
    keys: Annotated[int, typer.Option(min=4, help="Images and mirror images.")] = 84_000_000,
    batches: Annotated[int, typer.Option(min=1, help="Of 128 random images.")] = 200,
) -> None:
    """Measure how a large cache opens, and how fast a batch is looked up.

    Example: `python -m benchmarks cache cache`
    \f
    Args:
        folder: a new folder for the cache.
        keys: number of images and mirror images.
        batches: of 128 random images.
    """
    print(bench_cache(folder, keys, batches))


@app.command("jobs")
def jobs(
    folder: Annotated[Path, typer.Argument(help="A new folder for the results.")],
    command: Annotated[str, typer.Argument(help="Of cakd, in quotes, with the word OUT for its result.")],
    ranks: Annotated[int, typer.Option(min=2, help="Processes of torchrun.")] = 2,
    kills: Annotated[int, typer.Option(min=0, help="Number of kills.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Run a long job on one rank, on several, and killed again and again.

    Prints seconds, and whether all files have the same bytes; exits with 1 if not.

    Example: `python -m benchmarks jobs jobs "data cache-teacher onnx data OUT --teacher r100.onnx"`
    \f
    Args:
        folder: a new folder for the results.
        command: of cakd, with the word OUT where its result goes.
        ranks: processes of torchrun.
        kills: number of kills, at moments drawn from the time of the job.
        seed: of the moments.
    """
    found = long_jobs(folder, command, ranks, kills, seed)
    print(jobs_table(found))
    raise SystemExit(not all(run.equal for run in found))


@app.command("long")
def long(
    folder: Annotated[Path, typer.Argument(help="A new folder for the run.")],
    steps: Annotated[int, typer.Option(min=8, help="Steps of the run.")] = 2000,
    workers: Annotated[int, typer.Option(min=0, help="Workers of the loader.")] = 2,
    recipe: Annotated[str, typer.Option(help="A shipped recipe.")] = "cakd",
) -> None:
    """Measure memory and open files of a long run.

    Prints a table of the quarters of the run, all its processes together.

    Example: `python -m benchmarks long long --steps 2000`
    \f
    Args:
        folder: a new folder for the run.
        steps: number of steps.
        workers: of the loader.
        recipe: name of a shipped recipe.
    """
    print(quarters(long_run(folder, steps, workers, recipe)))


@app.command("lowres")
def lowres(
    comparison: Annotated[Path, typer.Argument(help="Output folder of `cakd compare`.")],
    pairs: Annotated[Path, typer.Argument(help="A .bin verification set.")],
    sizes: Annotated[str, typer.Option(help="Pixels per side.")] = "112,28,16,14,10,7",
    face_bn: Annotated[float, typer.Option(min=0, max=1, help="Share of FaceBN's statistics; 0: none.")] = 0.5,
) -> None:
    """Measure the students of a comparison at low resolution.

    Two tables, low against low and low against full, each with and without FaceBN.

    Example: `python -m benchmarks lowres comparison data/dev.bin`
    \f
    Args:
        comparison: output folder of `cakd compare`.
        pairs: a .bin verification set.
        sizes: pixels per side, separated by commas.
        face_bn: share of the test's own statistics; 0 measures without FaceBN only.
    """
    wanted = [int(size) for size in sizes.split(",")]
    print(bench_low_resolution(comparison, pairs, wanted, face_bn, Execution(choose_device(None))))


@app.command("pairs")
def pairs(
    runs: Annotated[Path, typer.Argument(help="Has SEED/METHOD, one of them alone.")],
    sets: Annotated[list[Path], typer.Argument(help="A .bin or a folder of them; several.")],
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
) -> None:
    """Measure runs of several seeds on the same pairs, as `cakd compare` does.

    For runs that differ in more than the recipe, such as their data.

    Example: `python -m benchmarks pairs runs data/dev.bin`
    \f
    Args:
        runs: has SEED/METHOD, one of the methods called alone.
        sets: .bin files, or folders of them.
        json: file for all numbers.
    """
    seeds = sorted(int(folder.name) for folder in runs.glob("*") if folder.name.isdigit())
    if not seeds:
        raise EvaluationError(f"{runs}: has no SEED/METHOD; expected finished runs. Name their folder.")
    methods = sorted(folder.name for folder in (runs / str(seeds[0])).iterdir() if RunFolder(folder).finished)
    found = measure_on_pairs(runs, load_sets(sets), methods, seeds)
    if json is not None:
        write_json(json, found.facts())
    print(found.text())


@app.command("predicted")
def predicted(
    repeats: Annotated[int, typer.Option(min=1, help="Timed steps of each kind.")] = 9,
) -> None:
    """Compare what `cakd cost` predicts with steps measured on this CPU.

    Example: `OMP_NUM_THREADS=1 python -m benchmarks predicted`
    \f
    Args:
        repeats: timed steps of each kind.
    """
    print(predicted_table(repeats))


@app.command("students")
def students(
    networks: Annotated[str, typer.Argument(help="Names, with commas.")] = "cnn_tiny,cnn_small,mbf_small,mbf,r18",
    batch: Annotated[int, typer.Option(min=2, help="Images of a step.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Timed steps of each kind.")] = 3,
) -> None:
    """Measure size and training step of students, in CPU time.

    In torch's own layout, in channels-last, with our PReLU as they are trained, and with precision=bf16.

    Example: `OMP_NUM_THREADS=1 python -m benchmarks students cnn_tiny,cnn_small`
    \f
    Args:
        networks: names that `get_model` knows, separated by commas.
        batch: images of a step.
        repeats: timed steps of each kind.
    """
    print(table(student_steps(networks.split(","), batch, repeats)))


@app.command("liveness")
def liveness(
    data: Annotated[Path, typer.Argument(help="A packed folder, or <domain>/{live,spoof}/.")],
    seeds: Annotated[str, typer.Option(help="Of the floors' splits, with commas.")] = "0,1,2",
    model: Annotated[list[Path] | None, typer.Option(help="An .onnx to measure too; may be repeated.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Has NAME/DOMAIN/SEED, runs that left DOMAIN out.")] = None,
    live_class: Annotated[int, typer.Option(help="Class of live of the models.")] = 1,
    size: Annotated[int, typer.Option(min=16, help="Side of the images that the models take.")] = 112,
    values: Annotated[Literal["unit", "raw"], typer.Option(help="Pixels in [-1, 1], or 0 to 255.")] = "unit",
    colour: Annotated[Literal["rgb", "bgr"], typer.Option(help="Order of the channels.")] = "rgb",
) -> None:
    """Measure floors and models with each domain left out in turn.

    Three tables, AUC, EER and HTER: chance, two linear models, the ONNX models, and runs.

    Example: `python -m benchmarks liveness faces --seeds 0,1,2`
    \f
    Args:
        data: faces of at least two domains.
        seeds: of the floors' splits, separated by commas.
        model: .onnx files, which all take the same.
        runs: has NAME/DOMAIN/SEED, each a run that was trained without DOMAIN.
        live_class: class of live among a model's answers.
        size: side of the images that a model takes.
        values: pixels in [-1, 1], or 0 to 255.
        colour: order of the channels.
    """
    given = Input(live_class, size, values, colour)
    device = choose_device(None)
    models = {one.name: (load_live_model(one, live_class, size, get_model, device)[0], given) for one in model or ()}
    print(bench_liveness(data, [int(seed) for seed in seeds.split(",")], models, runs))


@app.command("seeds")
def seeds(
    folder: Annotated[Path, typer.Argument(help="Has NAME/SEED/FILE.")],
    fact: Annotated[list[str], typer.Option(help="Key of the file, with slashes; may be repeated.")],
    file: Annotated[str, typer.Option(help="Its name in each run's folder.")] = "result.json",
    scale: Annotated[float, typer.Option(help="Every number is multiplied by it.")] = 1.0,
) -> None:
    """Print the mean of runs over their seeds.

    Example: `python -m benchmarks seeds runs --fact accuracy/dev --scale 100`
    \f
    Args:
        folder: has NAME/SEED/FILE.
        fact: keys of the file, with slashes between levels.
        file: name of the file in each run's folder.
        scale: every number is multiplied by it.
    """
    print(seeds_table(folder, file, fact, scale))


@app.command("tune")
def tune(
    folder: Annotated[Path, typer.Argument(help="Where runs and tuned recipes go.")],
    recipes: Annotated[list[str], typer.Argument(help="By name or path.")],
    data: Annotated[Path, typer.Option(help="Folder with train.rec, or of people, and the .bin sets.")],
    teacher: Annotated[str, typer.Option(help="Its weights, run, .onnx or cache.")],
    factors: Annotated[str, typer.Option(help="Of a recipe's weights, with commas.")] = "0.25,1,4",
    seeds: Annotated[str, typer.Option(help="With commas.")] = "2048",
    student_config: Annotated[str, typer.Option(help="Of every student.")] = "faces_cnn_small",
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, overrides the config.")] = None,
    recipe_set: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, overrides every recipe.")] = None,
) -> None:
    """Tune the weights of recipes, with equally many runs for each.

    Prints the accuracy of each factor, and writes each recipe with its best to FOLDER/recipes.

    Example: `python -m benchmarks tune tuning cosine sp --data data --teacher cache --set num_epoch=2`
    \f
    Args:
        folder: where runs and tuned recipes go; a second call goes on.
        recipes: names or paths.
        data: folder with train.rec, or of people, and the verification sets.
        teacher: its weights, run, .onnx or cache.
        factors: of a recipe's weights, separated by commas.
        seeds: separated by commas.
        student_config: of every student.
        settings: overrides of the config.
        recipe_set: overrides of every recipe.
    """
    numbers = tuple(int(seed) for seed in seeds.split(","))
    changes = (tuple(settings or ()), tuple(recipe_set or ()))
    terms = Comparison(tuple(recipes), numbers, student_config, teacher, data, (), *changes)
    print(f"\n{tuned(folder, terms, [float(factor) for factor in factors.split(',')])}")


@app.command("gpu")
def gpu(
    data: Annotated[Path, typer.Argument(help="Folder with train.rec, or of people, and the .bin sets.")],
    teacher: Annotated[str, typer.Option(help="Its weights, run, .onnx or cache.")],
    output: Annotated[Path, typer.Option(help="Where runs and page go.")] = Path("on_gpu"),
    recipes: Annotated[str, typer.Option(help="With commas.")] = "recommended,cosine,urfm",
    recipe_set: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, overrides every recipe.")] = None,
    networks: Annotated[str, typer.Option(help="Students, with commas.")] = "mbf,r18",
    seeds: Annotated[str, typer.Option(help="With commas.")] = "2048,2049,2050",
    minutes: Annotated[float, typer.Option(min=0, help="Of all trainings.")] = 25,
    batch: Annotated[int, typer.Option(min=2, help="Images of a step.")] = 256,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the student.")] = "bf16",
    workers: Annotated[int, typer.Option(min=0, help="Of the loader.")] = 8,
) -> None:
    """Compare recipes with the students that are shipped, in a given time.

    The steps are as many as fit. Writes on_gpu.md; runs on a CPU too, where little fits.

    Example: `python -m benchmarks gpu data --teacher edgeface_xs.pt --recipe-set teacher.network=timm:edgenext_x_small`
    \f
    Args:
        data: folder with train.rec, or of people, and the verification sets, which are all measured.
        teacher: its weights, run, .onnx or cache.
        output: where runs and page go.
        recipes: names or paths, separated by commas.
        recipe_set: overrides of every recipe.
        networks: students, separated by commas.
        seeds: separated by commas.
        minutes: of all trainings.
        batch: images of a step.
        precision: of the student.
        workers: of the loader.
    """
    sets = tuple(find_sets([data]))
    numbers = tuple(int(seed) for seed in seeds.split(","))
    changes = tuple(recipe_set or ())
    plan = Plan(data, sets, teacher, tuple(recipes.split(",")), changes, tuple(networks.split(",")), numbers)
    plan = replace(plan, minutes=minutes, batch=batch, precision=precision, workers=workers)
    print(on_gpu(output, plan))


@app.command("curve")
def curve(
    folder: Annotated[Path, typer.Argument(help="Has LINE/X/SEED/result.json, X a number.")],
    picture: Annotated[Path, typer.Argument(help="The .svg to write.")],
    fact: Annotated[list[str], typer.Option(help="Key of the file, with slashes; may be repeated: a panel each.")],
    x: Annotated[str, typer.Option(help="What X is.")] = "steps",
    teacher: Annotated[float | None, typer.Option(min=0, max=1, help="Its accuracy, drawn as a line.")] = None,
) -> None:
    """Draw how accuracy grows with what X is, and print the means.

    Example: `python -m benchmarks curve runs steps.svg --fact accuracy/dev --x steps`
    \f
    Args:
        folder: has LINE/X/SEED/result.json, X a number.
        picture: the .svg to write.
        fact: keys of the file, with slashes between levels, a panel each.
        x: title of the x axis.
        teacher: its accuracy, a share.
    """
    facts = {one.rpartition("/")[2]: read_points(folder, one) for one in fact}
    write_text(picture, draw_curves(facts, x, teacher), EvaluationError)
    for title, points in facts.items():
        print(f"{title}:\n\n{curve_table(points, x)}\n")


app.command("reading")(reading)


def main() -> None:
    """Run a benchmark.

    A user's mistake ends with one line on stderr and exit code 1.
    """
    try:
        app()
    except CAKDError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
