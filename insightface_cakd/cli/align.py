"""`cakd data align`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from insightface_cakd.cli.options import Detector, Pairs, Quality, Seed, Workers


def align(
    photos: Annotated[Path, typer.Argument(help="Raw photos, one subfolder for each person.")],
    out: Annotated[Path, typer.Argument(help="Folder (or .bin) to make.")],
    detector: Detector,
    form: Annotated[
        Literal["rec", "folder", "bin"],
        typer.Option("--format", help="train.rec, a folder of faces, or a verification set."),
    ] = "rec",
    several: Annotated[
        Literal["largest", "central", "skip"], typer.Option(help="Which face of a photo with several is taken.")
    ] = "largest",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Of the detector.")] = 0.5,
    min_face: Annotated[float, typer.Option(min=1, help="Shorter side of a face's box, in pixels.")] = 32,
    det_size: Annotated[int, typer.Option(min=0, help="Detector's input, a multiple of 32; 0: 128 and 640.")] = 0,
    max_corrupt_share: Annotated[float, typer.Option(min=0, max=1, help="Largest share of damaged files.")] = 0.1,
    quality: Quality = 95,
    workers: Workers = 1,
    pairs: Pairs = 6000,
    seed: Seed = 0,
) -> None:
    """Detect faces in photos, and align them to 112x112.

    Faces are aligned by five points. A report says what was left out and why. --pairs is for a .bin only, and must be a
    multiple of 20. A stopped call goes on where it was; under torchrun the ranks share the photos.

    Example: `cakd data align photos data --detector scrfd_500m.onnx --workers 4`
    \f
    Args:
        photos: raw photos, one subfolder per person.
        form: what to write: train.rec, a folder of faces, or a verification set.
        several: which face of a photo with several faces is taken.
        min_score: lowest accepted score of the detector, in [0, 1].
        min_face: smallest accepted length of the shorter side of a face's box, in pixels.
        det_size: input size of the detector in pixels, a multiple of 32; 0 takes 128 and 640.
        max_corrupt_share: largest accepted share of damaged files, in [0, 1].
        quality: quality of the JPEG faces, 1 to 100.
        pairs: number of pairs of a verification set, half of them of one person.
    """
    from insightface_cakd.data.align.photo import Rules
    from insightface_cakd.data.align.run import Work, align_photos, report_path
    from insightface_cakd.runtime.devices import process_group
    from insightface_cakd.runtime.progress import progress_bar
    from insightface_cakd.runtime.ranks import rank

    rules = Rules(several, min_score, min_face, quality)
    work = Work(detector, form, rules, det_size, workers, max_corrupt_share, pairs, seed)
    with process_group():
        with progress_bar("aligning") as progress:
            alignment = align_photos(photos, out, work, progress)
        if rank() == 0:
            print(alignment.summary(out, report_path(out, form)))
