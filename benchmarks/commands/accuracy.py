"""Commands that measure, compare and tune students."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.curve import curve_table, draw_curves, read_points
from benchmarks.liveness import bench_liveness
from benchmarks.low_resolution import bench_low_resolution
from benchmarks.on_gpu import Plan, in_small, on_gpu, on_paper
from benchmarks.seeds import seeds_table
from benchmarks.tuning import tune as tuned
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.liveness.models import load_live_model
from insightface_cakd.evaluate.liveness.scoring import Input
from insightface_cakd.evaluate.pairs.sets import find_sets, load_sets
from insightface_cakd.experiments.pairs import measure_on_pairs
from insightface_cakd.experiments.runs import Comparison
from insightface_cakd.experiments.table import ALONE
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.runtime.atomic import write_json, write_text
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.run_folder import RunFolder


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (pairs, seeds, curve, tune, gpu, lowres, liveness):
        app.command(command.__name__)(command)


def pairs(
    runs: Annotated[Path, typer.Argument(help="Has SEED/METHOD.")],
    sets: Annotated[list[Path], typer.Argument(help="A .bin or a folder of them; several.")],
    against: Annotated[str, typer.Option(help="The METHOD that the others are compared with.")] = ALONE,
    json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
) -> None:
    """Measure runs of several seeds on the same pairs, as `cakd compare` does.

    For runs that differ in more than the recipe, such as their data.

    Example: `python -m benchmarks pairs runs data/dev.bin`
    \f
    Args:
        runs: has SEED/METHOD.
        sets: .bin files, or folders of them.
        against: the method that the others are compared with.
        json: file for all numbers.
    """
    seeds = sorted(int(folder.name) for folder in runs.glob("*") if folder.name.isdigit())
    if not seeds:
        raise EvaluationError(f"{runs}: has no SEED/METHOD; expected finished runs. Name their folder.")
    methods = sorted(folder.name for folder in (runs / str(seeds[0])).iterdir() if RunFolder(folder).finished)
    found = measure_on_pairs(runs, load_sets(sets), methods, seeds, against)
    if json is not None:
        write_json(json, found.facts())
    print(found.text())


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


def tune(
    folder: Annotated[Path, typer.Argument(help="Where runs and tuned recipes go.")],
    recipes: Annotated[list[str], typer.Argument(help="By name or path.")],
    data: Annotated[Path, typer.Option(help="Folder with train.rec, or of people, and the .bin sets.")],
    teacher: Annotated[str, typer.Option(help="Its weights, run, .onnx or cache.")],
    centres: Annotated[
        list[str] | None, typer.Option(help="The teacher's class centres, or its prototypes' folder.")
    ] = None,
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
        centres: files with the teacher's class centres in rank order, or a folder of prototypes.
        factors: of a recipe's weights, separated by commas.
        seeds: separated by commas.
        student_config: of every student.
        settings: overrides of the config.
        recipe_set: overrides of every recipe.
    """
    numbers = tuple(int(seed) for seed in seeds.split(","))
    changes = (tuple(settings or ()), tuple(recipe_set or ()))
    terms = Comparison(tuple(recipes), numbers, student_config, teacher, data, tuple(centres or ()), *changes)
    print(f"\n{tuned(folder, terms, [float(factor) for factor in factors.split(',')])}")


def gpu(
    data: Annotated[Path, typer.Argument(help="Folder with train.rec, or of people, and the .bin sets.")],
    teacher: Annotated[str, typer.Option(help="Its weights, run, .onnx or cache.")],
    output: Annotated[Path, typer.Option(help="Where runs and page go.")] = Path("on_gpu"),
    recipes: Annotated[
        str, typer.Option(help="With commas; taps must be there in every student.")
    ] = "recommended,cosine,sp",
    recipe_set: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, overrides every recipe.")] = None,
    networks: Annotated[str, typer.Option(help="Students, with commas.")] = "mbf,r18",
    seeds: Annotated[str, typer.Option(help="With commas.")] = "2048,2049,2050",
    minutes: Annotated[float, typer.Option(min=0, help="Of all trainings.")] = 25,
    batch: Annotated[int, typer.Option(min=2, help="Images of a step.")] = 256,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the student.")] = "bf16",
    workers: Annotated[int, typer.Option(min=0, help="Of the loader.")] = 8,
    device: Annotated[str | None, typer.Option(help="cuda or cpu; the best there is.")] = None,
    tiny: Annotated[bool, typer.Option(help="One small student, one seed: ends on a CPU.")] = False,
    fake: Annotated[Literal["h100", "a100"] | None, typer.Option(help="Predict the steps on this GPU.")] = None,
) -> None:
    """Time and compare recipes with the students that are shipped, in a given time.

    Steps in each precision, then trainings of as many steps as fit. Writes on_gpu.md. To try it: --device cpu --tiny, or --fake h100, which
    predicts the steps and trains nothing.

    Example: `python -m benchmarks gpu data --teacher edgeface_xs.pt --recipe-set teacher.network=timm:edgenext_x_small`
    \f
    Args:
        data: folder with train.rec, or of people, and the verification sets, which are all measured.
        teacher: its weights, run, .onnx or cache.
        output: where runs and page go.
        recipes: names or paths, separated by commas; what they tap must be in every student.
        recipe_set: overrides of every recipe.
        networks: students, separated by commas.
        seeds: separated by commas.
        minutes: of all trainings.
        batch: images of a step.
        precision: of the student.
        workers: of the loader.
        device: of everything.
        tiny: one small student and seed, two minutes, instead of what other options say.
        fake: predict the steps on this GPU, and train nothing.
    """
    sets = tuple(find_sets([data]))
    numbers = tuple(int(seed) for seed in seeds.split(","))
    changes = tuple(recipe_set or ())
    plan = Plan(data, sets, teacher, tuple(recipes.split(",")), changes, tuple(networks.split(",")), numbers)
    plan = replace(plan, minutes=minutes, batch=batch, precision=precision, workers=workers, device=device)
    plan = in_small(plan) if tiny else plan
    print(on_gpu(output, plan) if fake is None else on_paper(output, plan, fake))


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
