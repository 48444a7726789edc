"""`cakd data pack-landmarks`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from insightface_cakd.cli.options import DETECTOR, NAME, Quality


def pack_landmarks(
    source: Annotated[
        Path, typer.Argument(help="A .csv with a first line `file,NAME_x,NAME_y,...`, or lines `path x1 y1 x2 y2 ...`.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the records; it may hold other sets of the same points.")],
    coordinates: Annotated[
        Literal["pixels", "normalised"],
        typer.Option(help="pixels: (0, 0) is the centre of the first; normalised: 0 and 1 are the image's borders."),
    ],
    name: Annotated[str, NAME] = "train",
    images: Annotated[
        Path | None, typer.Option(help="Folder of the files; else the one of the list's name, or that of the list.")
    ] = None,
    crop: Annotated[
        float | None,
        typer.Option(
            help="Cut a square of so many longer sides of the points' box, or of the detector's: 1.5 is InsightFace's own crop."
        ),
    ] = None,
    lift: Annotated[float, typer.Option(help="Move the square up by this share of its side.")] = 0.0,
    detector: Annotated[Path | None, DETECTOR] = None,
    flip: Annotated[
        str | None,
        typer.Option(help="For each point, from 0, the one it becomes in a mirror: 1,0,2 or a file of such numbers."),
    ] = None,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Leave out images with points outside, or without a detected face.")
    ] = False,
    quality: Quality = 95,
) -> None:
    """Pack images with landmarks, for `task: landmarks`.

    Any number of points. Every image is read before anything is written.

    Example: `cakd data pack-landmarks train.csv points --coordinates pixels --crop 1.5 --detector scrfd.onnx`
    """
    from insightface_cakd.data.landmarks.flips import parse_flip
    from insightface_cakd.data.landmarks.pack import PackOptions, pack_points
    from insightface_cakd.runtime.progress import progress_bar

    table = None if flip is None else parse_flip(flip)
    options = PackOptions(coordinates, images, crop, lift, detector, table, leave_out, quality)
    with progress_bar("reading") as progress:
        packed = pack_points(source, out, options, name, progress)
    print(f"{out}: {name}: {'; '.join(packed.lines())}")
