"""`cakd embed` and `cakd verify`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from insightface_cakd.cli.options import DETECTOR, OUTPUT, Batch, Device, Json, MaxCorrupt, Network
from insightface_cakd.cli.protocols import Model

MayDetect = Annotated[Path | None, DETECTOR]
Several = Annotated[
    Literal["largest", "central", "skip"], typer.Option(help="Which face of a photo with several is taken.")
]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("embed")(_embed)
    app.command("verify")(_verify)


def _embed(
    model: Model,
    photos: Annotated[
        list[Path], typer.Argument(help="Photos, aligned 112x112 faces, or folders of them.", metavar="PHOTOS...")
    ],
    output: Annotated[Path, OUTPUT],
    detector: MayDetect = None,
    several: Several = "largest",
    max_corrupt: MaxCorrupt = 0,
    network: Network = None,
    batch: Batch = 64,
    device: Device = None,
) -> None:
    """Write the embeddings of photos or aligned faces.

    An image of 112x112 pixels is an aligned face; any other is a photo, which needs --detector. The .npz has `embeddings` (N, D),
    float32, not normalised, `files`, and `left_out`: photos without a face that can be taken.

    Example: `cakd embed student photos --detector scrfd_500m.onnx --output people.npz`
    """
    from insightface_cakd.api.photos import embed_photos, find_files
    from insightface_cakd.api.recogniser import load
    from insightface_cakd.runtime.progress import progress_bar

    files = find_files(photos)
    loaded = load(model, network=network, detector=detector, several=several, device=device)
    with progress_bar("embedding") as progress:
        found = embed_photos(loaded, files, max_corrupt, batch, progress)
    found.save(output)
    print(f"{output}: {found.summary()}")


def _verify(
    model: Model,
    first: Annotated[Path, typer.Argument(help="A photo, or an aligned 112x112 face.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    detector: MayDetect = None,
    several: Several = "largest",
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Cosine above which two faces are one person's.")
    ] = None,
    threshold_from: Annotated[
        Path | None, typer.Option(help="A .bin verification set on which the threshold is measured instead.")
    ] = None,
    far: Annotated[
        float | None,
        typer.Option(
            help="Of that set's different pairs, at most this share is accepted; the best accuracy if absent."
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw both faces and the score: a .png, .pdf or .svg.")] = None,
    network: Network = None,
    device: Device = None,
    json: Json = None,
) -> None:
    """Say whether two photos show one person, and how alike.

    The similarity is the cosine of the embeddings. There is no verdict without a threshold, and no threshold by default: one belongs to a
    model and the images it is used on.

    Example: `cakd verify student.onnx a.jpg b.jpg --detector scrfd_500m.onnx --threshold-from dev.bin --picture both.png`
    """
    from insightface_cakd.api.recogniser import load
    from insightface_cakd.api.verifying import verify
    from insightface_cakd.errors import EvaluationError
    from insightface_cakd.runtime.atomic import write_json

    if threshold_from is None and far is not None:
        raise EvaluationError(
            f"--far {far:g}: given without --threshold-from; expected a set. Add it, or leave it out."
        )
    if threshold is not None and threshold_from is not None:
        raise EvaluationError("--threshold and --threshold-from: expected one of them. Leave one out.")
    if picture is not None:
        from insightface_cakd.show.picture import require_format

        require_format(picture)
    loaded = load(model, network=network, detector=detector, several=several, device=device)
    faces = [loaded.faces(path)[0] for path in (first, second)]
    limit = threshold if threshold_from is None else loaded.threshold(threshold_from, far)
    verdict = verify(faces[0], faces[1], loaded, limit)
    if picture is not None:
        from insightface_cakd.show.picture import save_picture
        from insightface_cakd.show.verdict import draw_verdict

        save_picture(draw_verdict(faces, [first.name, second.name], verdict), picture)
    if json is not None:
        write_json(json, {"model": loaded.entry.name, "first": str(first), "second": str(second), **verdict.facts()})
    print(verdict)
    if picture is not None:
        print(f"picture: {picture}")
