"""`cakd data ...`: make, inspect and check data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from insightface_cakd.cli import liveness
from insightface_cakd.cli.align import align
from insightface_cakd.cli.landmarks import pack_landmarks
from insightface_cakd.cli.options import NAME, Pairs, Quality, Readers, RecipeSettings, Seed, Teacher

Records = Annotated[Path, typer.Argument(help="Folder with train.rec and train.idx.")]
Faces = Annotated[Path, typer.Argument(help="Aligned 112x112 faces, one folder per person.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(help="Make, look at and check training and verification data.", no_args_is_help=True)
    for name, command in (
        ("pack", _pack),
        ("unpack", _unpack),
        ("join", _join),
        ("info", _info),
        ("check", _check),
        ("make-bin", _make_bin),
        ("split", _split),
        ("faces", _faces),
        ("align", align),
        ("augment", _augment),
        ("pack-landmarks", pack_landmarks),
        ("cache-teacher", _cache_teacher),
        ("prototypes", _prototypes),
    ):
        group.command(name)(command)
    group.command("pack-liveness")(liveness.pack)
    group.command("train-autoencoder")(liveness.train_autoencoder)
    app.add_typer(group, name="data")


def _pack(
    faces: Faces, out: Annotated[Path, typer.Argument(help="Folder for train.rec, train.idx, property.")]
) -> None:
    """Pack folders of faces into arcface_torch's record file.

    Example: `cakd data pack faces data`.
    """
    from insightface_cakd.data.pack import pack
    from insightface_cakd.runtime.progress import progress_bar

    with progress_bar("packing") as progress:
        summary = pack(faces, out, progress=progress)
    _say_skipped(summary.skipped, faces)
    print(f"{out}: {summary.images} images of {summary.identities} people")


def _say_skipped(skipped: Sequence[Path], faces: Path) -> None:
    """Print what a folder of people has beside their images, if anything."""
    from insightface_cakd.data.folders import shown, skipped_line

    if skipped:
        print(skipped_line([shown(path, faces) for path in skipped]))


def _unpack(
    records: Records, out: Annotated[Path, typer.Argument(help="New folder, one sub-folder per person.")]
) -> None:
    """Unpack a record file into folders of its images."""
    from insightface_cakd.data.pack import unpack
    from insightface_cakd.runtime.progress import progress_bar

    with progress_bar("unpacking") as progress:
        images = unpack(records, out, progress=progress)
    print(f"{out}: {images} images")


def _join(
    folders: Annotated[list[Path], typer.Argument(help="Folders with train.rec and train.idx.")],
    out: Annotated[Path, typer.Option(help="New folder, for shards.yaml alone.")],
    labels: Annotated[Literal["own", "shared"], typer.Option(help="Of people of each folder, or of all.")],
) -> None:
    """Let record files be one training set, without a copy.

    With `own` labels each folder counts its people from 0, and nobody is in two of them; with `shared` ones a label means the same
    person in all.

    Example: `cakd data join ms1mv3 glint --labels own --out both`.
    """
    from insightface_cakd.data.shards import join

    faces = join(folders, out, labels)
    print(f"{out}: {len(faces)} images of {faces.num_classes} people in {len(folders)} record files")


def _info(records: Records) -> None:
    """Count the people and images of a record file."""
    from insightface_cakd.data.inspect import info

    print(info(records))


def _check(
    records: Records,
    num_classes: Annotated[int | None, typer.Option(help="The config's num_classes, to check labels against.")] = None,
) -> None:
    """Read every record and print what is wrong.

    The exit code is 1 if anything prevents training.
    """
    from insightface_cakd.data.inspect import check
    from insightface_cakd.errors import DataError
    from insightface_cakd.runtime.progress import progress_bar

    with progress_bar("checking") as progress:
        findings = check(records, num_classes, progress=progress)
    for finding in findings:
        print(finding)
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        raise DataError(f"{records}: {errors} errors, listed above; expected none. Pack the data again.")
    print(f"{records}: every record is readable")


def _make_bin(
    source: Annotated[Path, typer.Argument(help="Folder of people, or a text file with `image image 0|1` per line.")],
    out: Annotated[Path, typer.Argument(help="The .bin to write.")],
    pairs: Pairs = 6000,
    seed: Seed = 0,
) -> None:
    """Write pairs of faces as a verification set (.bin)."""
    from insightface_cakd.data.bins import make_bin
    from insightface_cakd.data.folders import find_people
    from insightface_cakd.runtime.progress import progress_bar

    with progress_bar("pairs") as progress:
        make_bin(source, out, pairs=pairs, seed=seed, progress=progress)
    if source.is_dir():
        _say_skipped(find_people(source).skipped, source)
    print(out)


def _split(
    faces: Faces,
    out: Annotated[Path, typer.Argument(help="Folder for train.rec and the .bin.")],
    name: Annotated[str, NAME] = "dev",
    pairs: Pairs = 600,
    seed: Seed = 0,
) -> None:
    """Split folders of faces into training and verification.

    No person is in both.
    """
    from insightface_cakd.data.folders import find_people
    from insightface_cakd.data.inspect import info
    from insightface_cakd.data.split import split_faces

    split_faces(faces, out, name, seed, pairs)
    _say_skipped(find_people(faces).skipped, faces)
    print(info(out))


def _faces(
    out: Annotated[Path, typer.Argument(help="Folder for train.rec and dev.bin.")],
    seed: Seed = 2048,
) -> None:
    """Draw a small data set of synthetic faces.

    The images of a person differ in pose, light, expression, occlusion and blur.
    """
    from insightface_cakd.data.faces import write_face_set
    from insightface_cakd.data.inspect import info
    from insightface_cakd.runtime.progress import progress_bar

    with progress_bar("faces") as progress:
        write_face_set(out, seed=seed, progress=progress)
    print(info(out))


def _augment(
    recipe: Annotated[str, typer.Argument(help="Recipe whose `views: both` change the copies.")],
    data: Annotated[Path, typer.Argument(help="Folder with train.rec, or one folder of aligned faces per person.")],
    out: Annotated[Path, typer.Argument(help="Folder for train.rec, train.idx, property.")],
    copies: Annotated[int, typer.Option(min=1, help="Changed copies of each image, beside itself.")] = 8,
    recipe_settings: RecipeSettings = None,
    seed: Seed = 2048,
    quality: Quality = 95,
) -> None:
    """Write changed copies, so that a cache serves views.

    Example: `cakd data augment recommended_onnx data copies --copies 8`, then `cakd data cache-teacher` on the copies.
    """
    from insightface_cakd.recipe.settings import given
    from insightface_cakd.runtime.progress import progress_bar
    from insightface_cakd.tasks.augment import augment

    with progress_bar("augmenting") as progress:
        images = augment(recipe, data, out, copies, given(more=recipe_settings), seed, quality, progress)
    print(f"{out}: {images} images")


def _cache_teacher(
    recipe: Annotated[str, typer.Argument(help="Recipe whose teacher is run once over the data.")],
    records: Records,
    out: Annotated[Path, typer.Argument(help="New folder of the cache; pass it as --teacher of a `cached` recipe.")],
    teacher: Teacher = None,
    recipe_settings: RecipeSettings = None,
    readers: Readers = 2,
    storage: Annotated[
        Literal["float16", "int8"], typer.Option(help="How an embedding is kept; int8 takes half the room.")
    ] = "float16",
) -> None:
    """Cache the teacher's embeddings of all images.

    Training with the cache does not run the teacher. A stopped call goes on where it was; under torchrun the ranks share
    the images.

    Example: `torchrun --nproc_per_node 8 -m insightface_cakd data cache-teacher onnx data cache --teacher r100.onnx`
    """
    from insightface_cakd.recipe.settings import given
    from insightface_cakd.runtime.devices import process_group
    from insightface_cakd.runtime.progress import progress_bar
    from insightface_cakd.runtime.ranks import rank
    from insightface_cakd.tasks.precompute import cache_teacher

    with process_group():
        with progress_bar("embedding") as progress:
            cache_teacher(recipe, records, out, given(teacher, more=recipe_settings), progress, readers, storage)
        if rank() == 0:
            print(out)


def _prototypes(
    recipe: Annotated[
        str, typer.Argument(help="Recipe whose teacher is run once over the data; `cached` for a cache.")
    ],
    data: Annotated[Path, typer.Argument(help="Folder with train.rec, or one folder of aligned faces per person.")],
    out: Annotated[Path, typer.Argument(help="New folder; pass it as --prototypes, or as --centres.")],
    teacher: Teacher = None,
    recipe_settings: RecipeSettings = None,
    nearest: Annotated[int, typer.Option(min=1, help="Most similar others that are listed for each person.")] = 100,
    readers: Readers = 2,
) -> None:
    """Write the teacher's prototypes, for CoupleFace.

    A prototype is the mean direction of a person's embeddings; the most similar people are listed for each person. A
    stopped call goes on where it was; under torchrun the ranks share the images.
    """
    from insightface_cakd.recipe.settings import given
    from insightface_cakd.runtime.devices import process_group
    from insightface_cakd.runtime.progress import progress_bar
    from insightface_cakd.runtime.ranks import rank
    from insightface_cakd.tasks.precompute import make_prototypes

    with process_group():
        with progress_bar("prototypes") as progress:
            meta = make_prototypes(recipe, data, out, given(teacher, more=recipe_settings), nearest, progress, readers)
        if rank() == 0:
            print(f"{out}: {meta.num_classes} people of {meta.images} images, {meta.single} of them with one image")
            fewer = f", not {nearest}: there are no more" if meta.nearest < nearest else ""
            print(f"{meta.nearest} most similar others for each{fewer}")
