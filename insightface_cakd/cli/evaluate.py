"""`cakd eval bin`, and the group that `cakd eval ijb` is in."""

from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.cli import ijb


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(help="Measure a model.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("bin")(_bin)
    ijb.register(app, group)
    app.add_typer(group, name="eval")


def _bin(
    model: Annotated[Path, typer.Argument(help="An .onnx, or .pt weights with --network.")],
    sets: Annotated[list[Path], typer.Argument(help="One or more .bin verification sets.")],
    network: Annotated[str | None, typer.Option(help="Network of .pt weights, for example mbf.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time; the result does not depend on it.")] = 64,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu; the best there is when not given.")] = None,
) -> None:
    """Ten-fold accuracy with flip (arcface_torch's protocol) and TAR@FAR.

    Example: `cakd eval bin student.onnx lfw.bin agedb_30.bin`
    """
    from insightface_cakd.data.bins import load_bin
    from insightface_cakd.evaluate.models import load_embedder
    from insightface_cakd.evaluate.verification import verify
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.hosts.embedded.devices import choose_device
    from insightface_cakd.progress import progress_bar

    where = choose_device(device)
    embed = load_embedder(model, network, get_model, where)
    for path in sets:
        pairs = load_bin(path)
        with progress_bar(path.stem) as progress:
            result = verify(embed, pairs, where, batch, progress)
        print(f"{path.stem}: {result.summary()}")
