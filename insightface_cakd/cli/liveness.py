"""`cakd eval liveness`, `cakd data pack-liveness` and `train-autoencoder`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from insightface_cakd.cli.options import Batch, Device, Json, Seed
from insightface_cakd.cli.protocols import Model, Page

Source = Annotated[Path, typer.Argument(help="<domain>/{live,spoof}/, or a text file of `path 0|1 domain [video]`.")]


def pack(
    source: Source,
    out: Annotated[Path, typer.Argument(help="The folder to create.")],
    live: Annotated[int | None, typer.Option(help="The label that means live in a list, 0 or 1.")] = None,
) -> None:
    """Write live and spoofed faces and their list.

    Example: `cakd data pack-liveness list.txt faces --live 1`
    """
    from insightface_cakd.data.liveness import pack_liveness

    found = pack_liveness(source, out, live)
    for index, name in enumerate(found.domains):
        kinds = found.live[found.domain == index]
        print(f"{name}: {int(kinds.sum())} live, {int((1 - kinds).sum())} spoof")


def train_autoencoder(
    faces: Annotated[Path, typer.Argument(help="Folder of faces, at any depth.")],
    out: Annotated[Path, typer.Argument(help="The weights to write, a .pt.")],
    steps: Annotated[int, typer.Option("--training-steps", min=1, help="Batches to train with.")] = 500,
    batch: Batch = 64,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Train a masked autoencoder, a teacher of `dtda`.

    Example: `cakd data train-autoencoder faces generative.pt`
    """
    from insightface_cakd.runtime.devices import choose_device
    from insightface_cakd.teachers.masked_autoencoder import train_encoder

    loss = train_encoder(faces, out, steps, batch, seed, choose_device(device))
    print(f"{out}: squared error of hidden pixels {loss:.4f} at the end")


def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="A packed folder, or <domain>/{live,spoof}/.")],
    dev: Annotated[str, typer.Option(help="Domains that give the threshold, with commas.")],
    test: Annotated[str, typer.Option(help="Domains to test, with commas.")],
    live_class: Annotated[int | None, typer.Option(help="Class of live; said by a run's folder itself.")] = None,
    size: Annotated[int, typer.Option(min=16, help="Side of the images that the model takes.")] = 112,
    values: Annotated[Literal["unit", "raw"], typer.Option(help="Pixels in [-1, 1], or 0 to 255.")] = "unit",
    colour: Annotated[Literal["rgb", "bgr"], typer.Option(help="Order of the channels.")] = "rgb",
    batch: Batch = 64,
    device: Device = None,
    json: Json = None,
    report: Page = None,
) -> None:
    """Measure a live/spoof model on domains.

    APCER, BPCER, ACER, EER, HTER, AUC.

    Example: `cakd eval liveness run faces --dev a,b --test c`
    """
    from insightface_cakd.cli.protocols import say
    from insightface_cakd.data.liveness import read_liveness
    from insightface_cakd.evaluate.liveness.models import load_live_model
    from insightface_cakd.evaluate.liveness.scoring import Input, measure_liveness
    from insightface_cakd.hosts.embedded.backbones import get_model
    from insightface_cakd.runtime.devices import choose_device

    faces = read_liveness(data)
    network, live = load_live_model(Path(model), live_class, size, get_model, choose_device(device))
    given = Input(live, size, values, colour)
    development, tests = ([name for name in text.split(",") if name] for text in (dev, test))
    say(measure_liveness(network, faces, development, tests, given, batch), json, report, f"liveness: {model}")
