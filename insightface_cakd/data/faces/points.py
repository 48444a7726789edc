"""Writes a set of drawn faces with their five points."""

import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from insightface_cakd.data.faces.draw import draw_face, face_points
from insightface_cakd.data.faces.person import Person, View
from insightface_cakd.data.images import encode_jpeg
from insightface_cakd.data.landmarks.pack import PackOptions, pack_points
from insightface_cakd.runtime.progress import Progress

QUALITY = 90
NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


def loose_view(seed: int, number: int, picture: int) -> View:
    """Return the conditions of a picture without alignment.

    Roll, size and place vary as in the box of a detector: about 11 degrees, 10 %, and 5 pixels.
    """
    random = np.random.default_rng((seed, number, picture, 5))
    return replace(
        View.draw(seed, number, picture),
        roll=float(random.normal(0, 0.2)),
        scale=float(random.uniform(0.6, 0.9)),
        shift=random.normal(0, 5, 2),
    )


def write_drawn_points(
    out: Path, name: str, people: range, pictures: int, seed: int, progress: Progress | None = None
) -> None:
    """Draw people and pack their pictures with five points.

    Args:
        out: folder of the records, see `pack_points`.
        name: of the set.
        people: numbers of the people; another range gives other people.
        pictures: number of pictures of each person.
        seed: of all draws.
        progress: called with (pictures drawn, pictures in all).
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, f"{name}.csv")
        with listed.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["file", *(f"{point}_{axis}" for point in NAMES for axis in "xy")])
            for done, number in enumerate(people):
                person = Person.draw(seed, number)
                for picture in range(pictures):
                    view = loose_view(seed, number, picture)
                    image = f"{number:06d}_{picture:03d}.jpg"
                    Path(folder, image).write_bytes(encode_jpeg(draw_face(person, view), QUALITY))
                    rows.writerow([image, *np.round(face_points(person, view), 3).reshape(-1).tolist()])
                if progress is not None:
                    progress((done + 1) * pictures, len(people) * pictures)
        pack_points(listed, out, PackOptions("pixels", images=Path(folder), leave_out=True), name)
