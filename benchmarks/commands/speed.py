"""Commands that measure time and memory."""

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import students as of_students
from benchmarks import teachers as of_teachers
from benchmarks.cache_lookup import bench_cache
from benchmarks.heads import HeadSize, bench_head
from benchmarks.ijb import bench_ijb
from benchmarks.ijb_draw import size_of
from benchmarks.ijb_extract import bench_extraction
from benchmarks.predicted import predicted_table
from benchmarks.reading import reading
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.ijb.evaluate import Question
from insightface_cakd.evaluate.ijb.presets import Target


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (head, ijb, cache, predicted, students, teachers, reading):
        app.command(command.__name__)(command)


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
    print(of_students.table(of_students.student_steps(networks.split(","), batch, repeats)))


def teachers(
    networks: Annotated[str, typer.Argument(help="Names, with commas.")] = "timm:edgenext_x_small,vit_tiny,r50,vit_t",
    batch: Annotated[int, typer.Option(min=2, help="Images at a time.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Timed forwards of each kind.")] = 3,
) -> None:
    """Measure the forward of teachers, as they teach.

    As it is, in half precision, and with teacher.compile besides.

    Example: `OMP_NUM_THREADS=1 python -m benchmarks teachers r50,timm:edgenext_x_small`
    \f
    Args:
        networks: names of the host, or timm:NAME, separated by commas.
        batch: images at a time.
        repeats: timed forwards of each kind.
    """
    print(of_teachers.table(of_teachers.teacher_forwards(networks.split(","), batch, repeats)))
