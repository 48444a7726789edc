"""`cakd eval bin`, `mixed`, `identify` and `compare`, and the group that `cakd eval ijb` is in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from insightface_cakd.cli import ijb

if TYPE_CHECKING:
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.report.result import Result

Models = Annotated[
    list[str],
    typer.Argument(
        help="[NAME=]PATH[::NETWORK], two or more: a run's folder, an .onnx, or weights.", metavar="MODEL..."
    ),
]
Sets = Annotated[list[Path], typer.Argument(help=".bin verification sets, or folders of them.", metavar="SETS...")]
Network = Annotated[str | None, typer.Option(help="Network of .pt weights that name none, for example mbf.")]
Batch = Annotated[int, typer.Option(min=1, help="Images at a time; the result does not depend on it.")]
Device = Annotated[str | None, typer.Option(help="cuda, mps or cpu; the best there is when not given.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")]
MaxCorrupt = Annotated[int, typer.Option(min=0, help="So many pictures that cannot be read may be left out.")]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant", help="plain, masked, lowres:N, single (no mirror), flipped or all; may be given several times."
    ),
]
On = Annotated[Literal["probe", "both"], typer.Option(help="Change the second image of a pair only, or both.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(help="Measure a model.", no_args_is_help=True)
    group.callback()(lambda: None)
    for name, command in (("bin", _bin), ("mixed", _mixed), ("identify", _identify), ("compare", _compare)):
        group.command(name)(command)
    ijb.register(group)
    app.add_typer(group, name="eval")


def _bin(
    model: Annotated[str, typer.Argument(help="An .onnx, a run's folder, or .pt weights with --network.")],
    sets: Sets,
    variant: Variants = None,
    on: On = "probe",
    network: Network = None,
    batch: Batch = 64,
    device: Device = None,
    json: Json = None,
) -> None:
    """Ten-fold accuracy with flip (arcface_torch's protocol) and TAR@FAR, with intervals, of sets and variants of them.

    Example: `cakd eval bin student.onnx lfw.bin agedb_30.bin --variant all`
    """
    from insightface_cakd.evaluate.pairs.set_tables import SetResults
    from insightface_cakd.evaluate.pairs.sets import measure_sets
    from insightface_cakd.evaluate.pairs.variants import parse_variants
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.networks.entries import read_entries

    execution, variants = _execution(device, batch), parse_variants(variant or ())
    (entry,) = read_entries([model], network)
    _say(SetResults(measure_sets(entry.load(get_model, execution.device), sets, variants, execution, on)), json)


def _mixed(
    teacher: Annotated[str, typer.Argument(help="[NAME=]PATH[::NETWORK] of the model that enrolled.")],
    student: Annotated[str, typer.Argument(help="[NAME=]PATH[::NETWORK] of the model that is to ask.")],
    sets: Sets,
    people: Annotated[
        Path | None, typer.Option(help="Aligned faces, one subfolder a person: identification where people are known.")
    ] = None,
    max_corrupt: MaxCorrupt = 0,
    network: Network = None,
    batch: Batch = 64,
    device: Device = None,
    json: Json = None,
) -> None:
    """Must a gallery be enrolled again? The teacher's gallery under the student's probes, the reverse, and both alone.

    Example: `cakd eval mixed teacher.onnx student.onnx lfw.bin`
    """
    from insightface_cakd.evaluate.identify.folders import Faults
    from insightface_cakd.evaluate.mixed.search import search_people
    from insightface_cakd.evaluate.mixed.sets import MixedEnrolment, mixed_sets
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.networks.entries import read_entries

    execution = _execution(device, batch)
    entries = read_entries([teacher, student], network)
    old, new = ((entry.name, entry.load(get_model, execution.device)) for entry in entries)
    results, faults = mixed_sets(old, new, sets, execution), Faults(max_corrupt)
    searched = search_people(old, new, people, execution, faults) if people else None
    _say(MixedEnrolment(results, searched, faults.lines), json)


def _identify(
    model: Annotated[str, typer.Argument(help="An .onnx, a run's folder, or .pt weights with --network.")],
    probes: Annotated[Path, typer.Argument(help="Aligned faces, one subfolder a person, two pictures or more each.")],
    distractors: Annotated[Path, typer.Argument(help="Aligned faces of other people, at any depth.")],
    max_corrupt: MaxCorrupt = 0,
    seed: Annotated[int, typer.Option(help="Of the order in which distractors are added.")] = 0,
    network: Network = None,
    batch: Batch = 64,
    device: Device = None,
    json: Json = None,
) -> None:
    """Rank-1 among 10, 100, ... and all distractors, and TAR@FAR against all, as in MegaFace.

    Example: `cakd eval identify student.onnx facescrub megaface`
    """
    from insightface_cakd.evaluate.identify.folders import Faults, find_pictures, identify_folders
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.networks.entries import read_entries

    execution, faults = _execution(device, batch), Faults(max_corrupt)
    (entry,) = read_entries([model], network)
    embed = entry.load(get_model, execution.device)
    pictures = find_pictures(probes, distractors, seed)
    _say(identify_folders(embed, pictures, execution, faults), json)


def _compare(
    models: Models,
    sets: Annotated[
        list[Path], typer.Option(help="A .bin verification set, or a folder of them; may be given several times.")
    ],
    baseline: Annotated[str | None, typer.Option(help="Name of the model to compare with; the first.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of compare.html, compare.md and compare.json.")] = Path(
        "eval_compare"
    ),
    variant: Variants = None,
    on: On = "probe",
    network: Network = None,
    batch: Batch = 64,
    device: Device = None,
) -> None:
    """Models on the same pairs: intervals, a paired test, ROC, DET, accuracy against milliseconds and megabytes.

    Example: `cakd eval compare alone student teacher --sets data --baseline alone`
    """
    from insightface_cakd.evaluate.compare.run import PAGE, compare_models, write_outcome
    from insightface_cakd.evaluate.pairs.sets import varied_sets
    from insightface_cakd.evaluate.pairs.variants import parse_variants
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.networks.entries import read_entries

    execution, variants = _execution(device, batch), parse_variants(variant or ())
    entries = read_entries(models, network)
    outcome = compare_models(entries, varied_sets(sets, variants, on), get_model, execution, baseline)
    write_outcome(out, outcome, "Comparison of " + ", ".join(entry.name for entry in entries))
    _say(outcome, None)
    print(f"report: {out / PAGE}")


def _say(result: "Result", json: Path | None) -> None:
    """Print a result, and write its numbers where the user wants them."""
    from insightface_cakd.runtime.atomic import write_json

    print(result.text(), end="")
    if json is not None:
        write_json(json, result.facts())


def _execution(device: str | None, batch: int) -> "Execution":
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.runtime.devices import choose_device
    from insightface_cakd.runtime.progress import progress_bar

    return Execution(choose_device(device), batch, bar=progress_bar)
