"""Splits a folder of people into training and verification sets."""

import random
import tempfile
from pathlib import Path

from insightface_cakd.data.bins import make_bin
from insightface_cakd.data.folders import find_people, naming, require_new_folder, writing
from insightface_cakd.data.pack import pack
from insightface_cakd.data.pairs import most_pairs
from insightface_cakd.data.records import RECORDS, has_records
from insightface_cakd.errors import DataError

HELD_OUT = 0.2
MIN_PEOPLE = 10


def split_faces(faces: Path, out: Path, name: str, seed: int, pairs: int = 600) -> None:
    """Write `train.rec` of most people and `<name>.bin` of the others.

    The `.bin` holds at most `pairs` pairs of a fifth of the people; no person is in both files.
    """
    if not faces.is_dir():
        raise DataError(f"{faces}: no such folder; expected aligned 112x112 faces, one folder per person.")
    if has_records(faces):
        raise DataError(
            f"{faces}: holds {RECORDS}, whose people cannot be split; expected aligned 112x112 faces, one folder per person. "
            "Write them with `cakd data unpack`."
        )
    found = find_people(faces)
    images = {faces / name: len(files) for name, files in zip(found.names, found.images, strict=True)}
    people = list(images)
    require_new_folder(out, faces)
    if len(people) < MIN_PEOPLE:
        raise DataError(
            f"{faces}: {len(people)} {'person' if len(people) == 1 else 'people'}; expected at least {MIN_PEOPLE}, one folder each, since "
            "a fifth of them is held out for verification. Add people, or pack the folder and train with `cakd data pack` and `cakd train`."
        )
    random.Random(seed).shuffle(people)
    held_out = max(2, int(HELD_OUT * len(people)))
    with tempfile.TemporaryDirectory() as scratch:
        others = _links(Path(scratch) / "dev", people[:held_out])
        if not most_pairs(others):
            # Too many of them have one image: those with the most are held out instead.
            people.sort(key=lambda person: -images[person])
            others = _links(Path(scratch) / "others", people[:held_out])
        most = most_pairs(others)
        if not most:
            raise DataError(
                f"{faces}: the {held_out} people held out have too few images for 20 pairs, half of them same; expected several images a "
                "person. Add images."
            )
        with naming(Path(scratch) / "train", faces), naming(others, faces), writing(out) as temporary:
            pack(_links(Path(scratch) / "train", people[held_out:]), temporary)
            make_bin(others, temporary / f"{name}.bin", pairs=min(pairs, most), seed=seed)


def _links(folder: Path, people: list[Path]) -> Path:
    """Return a new folder of links to the given people."""
    folder.mkdir()
    for person in people:
        (folder / person.name).symlink_to(person.resolve(), target_is_directory=True)
    return folder
