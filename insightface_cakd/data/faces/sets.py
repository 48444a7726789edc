"""Writes a training set and a verification set of drawn faces."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

from insightface_cakd.data.bins import make_bin
from insightface_cakd.data.faces.draw import draw_face
from insightface_cakd.data.faces.person import Person, View
from insightface_cakd.data.folders import require_new_folder, writing
from insightface_cakd.data.images import encode_jpeg
from insightface_cakd.data.pack import pack
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.progress import Progress

QUALITY = 90


def draw_folders(
    out: Path, people: range, pictures: int, seed: int, progress: Callable[[int], None] | None = None
) -> None:
    """Draw people and write one folder of JPEGs per person.

    Args:
        out: parent of the folders.
        people: numbers of the people; another range gives other people.
        pictures: number of pictures of each person.
        seed: seed of all draws.
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
    progress: Progress | None = None,
) -> None:
    """Write `train.rec` of some people, and `<name>.bin` of others.

    Args:
        out: the folder to create.
        people: number of people in the training set, at least 2.
        pictures: number of pictures of each person, at least 2.
        pairs: number of pairs in the verification set, a multiple of 20; its people are others, a quarter as many, but
            at least 8.
        seed: seed of all draws, at least 0; equal seeds give equal files.
        name: name of the verification set.
        progress: called with (pictures drawn, pictures in all).

    Raises:
        DataError: a number is out of range, there are too few pictures of the other people for the pairs, `out` exists,
            or the disk is full; nothing is left behind.
    """
    others = max(8, people // 4)
    for key, value, least in (("people", people, 2), ("pictures", pictures, 2), ("seed", seed, 0)):
        if value < least:
            raise DataError(f"{out}: {key} is {value}; expected at least {least}. Nothing was drawn; raise it.")
    most = others * math.comb(pictures, 2) // 10 * 20
    if pairs <= 0 or pairs % 20 or pairs > most:
        raise DataError(
            f"{out}: {pairs} pairs of {others} people with {pictures} pictures each; expected a multiple of 20, at most "
            f"{most}. Nothing was drawn; ask for other pairs, or for more people or pictures."
        )
    total = (people + others) * pictures
    report = progress or (lambda done, total: None)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        require_new_folder(out, scratch)
        with writing(out) as temporary:
            draw_folders(scratch / "train", range(people), pictures, seed, lambda done: report(done, total))
            strangers, before = range(people, people + others), people * pictures
            draw_folders(scratch / "dev", strangers, pictures, seed, lambda done: report(before + done, total))
            pack(scratch / "train", temporary)
            make_bin(scratch / "dev", temporary / f"{name}.bin", pairs=pairs, seed=seed)
