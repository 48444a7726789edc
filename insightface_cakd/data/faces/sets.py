"""Writes a training set and a verification set of drawn faces."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from insightface_cakd.data.bins import make_bin
from insightface_cakd.data.faces.draw import draw_face
from insightface_cakd.data.faces.person import Person, View
from insightface_cakd.data.images import encode_jpeg
from insightface_cakd.data.pack import pack

QUALITY = 90


def draw_folders(
    out: Path, people: range, pictures: int, seed: int, progress: Callable[[int], None] | None = None
) -> None:
    """Write one folder per person with JPEGs.

    Args:
        out: parent of the folders.
        people: numbers of the people; another range gives other people.
        pictures: of each person.
        seed: of everything.
        progress: called with the number of pictures drawn.
    """
    for done, number in enumerate(people):
        folder = out / f"{number:06d}"
        folder.mkdir(parents=True)
        person = Person.draw(seed, number)
        for picture in range(pictures):
            view = View.draw(seed, number, picture)
            (folder / f"{picture:03d}.jpg").write_bytes(encode_jpeg(draw_face(person, view), QUALITY))
        if progress is not None:
            progress((done + 1) * pictures)


def write_face_set(
    out: Path,
    people: int = 400,
    pictures: int = 10,
    pairs: int = 2000,
    seed: int = 2048,
    name: str = "dev",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `train.rec` of some people and `<name>.bin` with pairs of others.

    Args:
        out: where the files go.
        people: in the training set.
        pictures: of each of them.
        pairs: in the verification set, of a quarter as many other people, at least 8.
        seed: of everything; equal seeds give equal files.
        name: of the verification set.
        progress: called with pictures drawn and in all.
    """
    others = max(8, people // 4)
    total = (people + others) * pictures

    def after(offset: int) -> Callable[[int], None]:
        return lambda done: progress(offset + done, total) if progress else None

    with tempfile.TemporaryDirectory() as scratch:
        draw_folders(Path(scratch) / "train", range(people), pictures, seed, after(0))
        draw_folders(Path(scratch) / "dev", range(people, people + others), pictures, seed, after(people * pictures))
        pack(Path(scratch) / "train", out)
        make_bin(Path(scratch) / "dev", out / f"{name}.bin", pairs=pairs, seed=seed)
