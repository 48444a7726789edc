"""`cakd eval ijb`."""

from pathlib import Path
from typing import Annotated

import typer

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
    out: Annotated[Path | None, typer.Option(help="Folder of the report; ijb_result/MODEL_TARGET_PRESET.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Folder of the embeddings; OUT/embeddings.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Network of .pt weights, for example mbf; a run's folder names its own.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Faces at a time, 8 on a CPU and 64 elsewhere; the result does not depend on it."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Decoding threads; the result does not depend on them.")] = 2,
    max_corrupt: Annotated[int, typer.Option(min=0, help="So many corrupt images may be left out.")] = 0,
    enrolled: Annotated[
        Path | None,
        typer.Option(help="Mixed enrolment: the model, run's folder or saved embeddings that embedded the galleries."),
    ] = None,
    enrolled_network: Annotated[str | None, typer.Option(help="Network of --enrolled's .pt weights.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu; the best there is when not given.")] = None,
) -> None:
    """IJB-B or IJB-C: TAR at FAR 1e-6 to 1e-1, rank-1/5/10 and TPIR at FPIR, as one of upstream's scripts measures them.

    Embeddings are saved, and used again; a run that was stopped goes on where it stopped. With --enrolled: both models alone,
    the other one's galleries under MODEL's probes, and the reverse.

    Example: `cakd eval ijb student.onnx --root IJB_release --target IJBC --preset onnx_ijbc`
    """
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.evaluate.ijb.evaluate import Question, evaluate_ijb, faces_at_a_time
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.runtime.devices import choose_device
    from insightface_cakd.runtime.progress import progress_bar

    question = Question(
        model, root, target, preset, mode, protocol, out, embeddings, network, max_corrupt, enrolled, enrolled_network
    )
    where = choose_device(device)
    execution = Execution(where, batch or faces_at_a_time(where), workers, progress_bar)
    print(evaluate_ijb(question, get_model, execution).text(), end="")
