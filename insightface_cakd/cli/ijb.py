"""`cakd eval ijb`."""

from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.cli.options import BATCH, OUTPUT, Device, MaxCorrupt, Network, Workers
from insightface_cakd.cli.protocols import Page, say
from insightface_cakd.evaluate.ijb.presets import PresetName, Protocol, Target


def register(group: typer.Typer) -> None:
    """Add this file's command to `cakd eval`."""
    group.command("ijb")(_ijb)


def _ijb(
    model: Annotated[
        Path,
        typer.Argument(
            help="An .onnx, a run's folder, .pt weights with --network, or saved embeddings: folder, .npz, .npy."
        ),
    ],
    root: Annotated[Path, typer.Option(help="Holds IJBB and IJBC, or meta and loose_crop of one.")],
    target: Annotated[Target, typer.Option(help="IJBB or IJBC.")] = "IJBC",
    preset: Annotated[PresetName, typer.Option(help="Upstream's script whose conventions count.")] = "eval_ijbc",
    mode: Annotated[
        str | None, typer.Option(help="Letters such as N1D1F1 as the preset means them, several with commas, or all.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="11, 1N or both; auto is both if the lists are there.")] = "auto",
    output: Annotated[Path | None, OUTPUT] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Folder of the embeddings; OUTPUT/embeddings.")] = None,
    network: Network = None,
    batch: Annotated[int | None, BATCH] = None,
    workers: Workers = 2,
    max_corrupt: MaxCorrupt = 0,
    enrolled: Annotated[
        Path | None,
        typer.Option(help="Mixed enrolment: the model, run's folder or saved embeddings that embedded the galleries."),
    ] = None,
    enrolled_network: Annotated[str | None, typer.Option(help="Network of --enrolled's .pt weights.")] = None,
    device: Device = None,
    report: Page = None,
) -> None:
    """Evaluate a model on IJB-B or IJB-C as upstream's scripts do.

    Measures TAR at FAR 1e-6 to 1e-1, rank-1/5/10 and TPIR at FPIR, by the conventions of one of upstream's scripts
    (--preset).

    Embeddings are saved and reused; a stopped run continues where it stopped. Without --output, report.md, report.json, scores and curves
    go to ijb_result/MODEL_TARGET_PRESET. Without --batch, a CPU takes 8 faces at a time, other devices 64.

    With --enrolled: both models alone, the other model's galleries with MODEL's probes, and the reverse.

    Example: `cakd eval ijb student.onnx --root IJB_release --target IJBC --preset onnx_ijbc`
    """
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.evaluate.ijb.evaluate import Question, evaluate_ijb, faces_at_a_time
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.networks.entries import title
    from insightface_cakd.runtime.devices import choose_device, process_group
    from insightface_cakd.runtime.progress import progress_bar

    question = Question(
        model,
        root,
        target,
        preset,
        mode,
        protocol,
        output,
        embeddings,
        network,
        max_corrupt,
        enrolled,
        enrolled_network,
    )
    where = choose_device(device)
    execution = Execution(where, batch or faces_at_a_time(where), workers, progress_bar)
    with process_group():
        result = evaluate_ijb(question, get_model, execution)
        if result is not None:
            say(result, None, report, f"{target}: {title(model)}")
