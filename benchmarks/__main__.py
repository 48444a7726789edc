"""`python -m benchmarks`: the yardsticks of the developers, from a checkout with the package installed."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.heads import HeadSize, bench_head
from benchmarks.ijb import bench_ijb
from benchmarks.ijb_draw import size_of
from benchmarks.ijb_extract import bench_extraction
from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.evaluate.ijb.evaluate import Question
from insightface_cakd.evaluate.ijb.presets import Target

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
    """Time and weigh a step of the class-sharded head: plain, with kd and with gkd."""
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
    """Seconds and memory of templates, scores and ROC on drawn embeddings of IJB-C's size, beside upstream's functions.

    With --model and --root: faces a second from pictures to embeddings, beside upstream's loop.

    Example: `python -m benchmarks ijb --host ~/insightface/recognition/arcface_torch`
    """
    named = host or os.environ.get("ARCFACE_TORCH")
    checkout = Path(named) if named else None
    if (model is None) != (root is None):
        raise RunError("ijb: --model and --root go together; expected both or none. Give the other one too.")
    if model is not None and root is not None:
        print(bench_extraction(Question(model, root, target, network=network), checkout))
    else:
        print(bench_ijb(size_of(images, templates, pairs, among), checkout))


def main() -> None:
    """Run a yardstick; a mistake ends in one line on stderr and exit code 1."""
    try:
        app()
    except CAKDError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
