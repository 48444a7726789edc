"""`cakd eval`: every protocol, comparison of models, mixed enrolment, IJB."""

import functools
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from insightface_cakd.cli import ijb, liveness
from insightface_cakd.cli.options import SETS, Batch, Device, Json, MaxCorrupt, Network, Output
from insightface_cakd.cli.protocols import Group, Page, command_of, execution_of, say
from insightface_cakd.evaluate.protocol import protocol_names

Models = Annotated[
    list[str],
    typer.Argument(
        help="[NAME=]PATH[::NETWORK], two or more: a run's folder, an .onnx, or weights.", metavar="MODEL..."
    ),
]
Sets = Annotated[list[Path], typer.Argument(help=".bin verification sets, or folders of them.", metavar="SETS...")]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        help="plain, masked, lowres:N, eye_strip, single (no mirror), flipped or all; may be given several times.",
    ),
]
On = Annotated[Literal["probe", "both"], typer.Option(help="Change the second image of a pair only, or both.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(
        help="Measure a model by a protocol, one below or your own.\n\nYour own is package.module:Class.",
        no_args_is_help=True,
        cls=Group,
    )
    group.callback()(lambda: None)
    for name in protocol_names():
        group.command(name)(command_of(name))
    group.command("mixed")(_mixed)
    group.command("models")(_models)
    group.command("compare", hidden=True)(_compare)
    ijb.register(group)
    group.command("liveness")(liveness.evaluate)
    app.add_typer(group, name="eval")


def _mixed(
    teacher: Annotated[str, typer.Argument(help="[NAME=]PATH[::NETWORK] of the model that enrolled.")],
    student: Annotated[str, typer.Argument(help="[NAME=]PATH[::NETWORK] of the model that is to ask.")],
    sets: Sets,
    people: Annotated[
        Path | None, typer.Option(help="Aligned faces, one subfolder a person: identification where people are known.")
    ] = None,
    learnt: Annotated[
        Path | None, typer.Option("--map", help="Run whose projector joins the two widths; see recipe compact.")
    ] = None,
    at: Annotated[
        Literal["student", "teacher"],
        typer.Option(help="With --map: reduce the gallery to the student's width, or lift probes to the teacher's."),
    ] = "student",
    max_corrupt: MaxCorrupt = 0,
    network: Network = None,
    batch: Batch = 64,
    device: Device = None,
    json: Json = None,
    report: Page = None,
) -> None:
    """Measure a student's search of a teacher's gallery.

    Measures the teacher's gallery with the student's probes, the reverse, and both models alone.

    Example: `cakd eval mixed teacher.onnx student.onnx lfw.bin`
    """
    from insightface_cakd.evaluate.identify.folders import Faults
    from insightface_cakd.evaluate.mixed.search import search_people
    from insightface_cakd.evaluate.mixed.sets import MixedEnrolment, mixed_sets
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.networks.entries import read_entries

    execution = execution_of(device, batch)
    entries = read_entries([teacher, student], network)
    old, new = ((entry.name, entry.load(get_model, execution.device)) for entry in entries)
    if learnt is not None:
        from insightface_cakd.evaluate.mixed.maps import at_one_width

        wide, narrow = at_one_width(old[1], new[1], learnt, at, execution)
        old, new = (old[0], wide), (new[0], narrow)
    results, faults = mixed_sets(old, new, sets, execution), Faults(max_corrupt)
    searched = search_people(old, new, people, execution, faults) if people else None
    result = MixedEnrolment(results, searched, faults.lines)
    say(result, json, report, f"{student} under the gallery of {teacher}")


def _models(
    models: Models,
    sets: Annotated[list[Path], SETS],
    baseline: Annotated[str | None, typer.Option(help="Name of the model to compare with; the first.")] = None,
    output: Output = Path("eval_compare"),
    variant: Variants = None,
    on: On = "probe",
    protocol: Annotated[
        str | None,
        typer.Option("--by", help="Measure each by this protocol instead, a name or package.module:Class, on --sets."),
    ] = None,
    options: Annotated[list[str] | None, typer.Option("--by-set", help="KEY=VALUE, an option of --by.")] = None,
    network: Network = None,
    batch: Batch = 64,
    device: Device = None,
) -> None:
    """Compare models on the same pairs.

    Reports confidence intervals, a paired test, ROC, DET, and accuracy against milliseconds and megabytes. Writes
    compare.html, compare.md and compare.json.

    Example: `cakd eval models alone student teacher --sets data --baseline alone`
    """
    from insightface_cakd.evaluate.compare.protocols import measure_each, named_protocol
    from insightface_cakd.evaluate.compare.run import PAGE, compare_models, write_outcome
    from insightface_cakd.evaluate.pairs.sets import varied_sets
    from insightface_cakd.evaluate.pairs.variants import parse_variants
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.networks.entries import read_entries
    from insightface_cakd.report.result import Result

    execution, variants = execution_of(device, batch), parse_variants(variant or ())
    entries = read_entries(models, network)
    chosen = named_protocol(protocol, options or (), pairs_only={"--baseline": baseline, "--variant": variant})
    outcome: Result
    if chosen is None:
        outcome = compare_models(entries, varied_sets(sets, variants, on), get_model, execution, baseline)
    else:
        outcome = measure_each(entries, chosen, sets, get_model, execution)
    write_outcome(output, outcome, "Comparison of " + ", ".join(entry.name for entry in entries))
    say(outcome, None)
    print(f"report: {output / PAGE}")


@functools.wraps(_models)
def _compare(*args: Any, **kwargs: Any) -> None:
    print("cakd eval compare: is now cakd eval models; write that", file=sys.stderr)
    _models(*args, **kwargs)
