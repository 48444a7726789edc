"""People and views by number: the same everywhere and always, and not told apart without learning."""

import subprocess
import sys

import numpy as np

from insightface_cakd.data.faces import Person, View, draw_face


def test_people_and_views_are_the_same_for_the_same_numbers_only():
    def picture(seed: int, number: int, view: int) -> bytes:
        return draw_face(Person.draw(seed, number), View.draw(seed, number, view)).tobytes()

    pictures = {picture(*numbers) for numbers in [(7, 0, 0), (8, 0, 0), (7, 1, 0), (7, 0, 1)]}
    assert len(pictures) == 4
    assert picture(7, 0, 0) in pictures


def test_a_picture_depends_on_its_numbers_and_not_on_the_process_or_on_what_was_drawn_before():
    code = (
        "import numpy, sys; from insightface_cakd.data.faces import *; numpy.random.seed(5); "
        "[draw_face(Person.draw(7, n), View.draw(7, n, 0)) for n in (9, 4)]; "
        "sys.stdout.buffer.write(draw_face(Person.draw(7, 2), View.draw(7, 2, 1)).tobytes())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert elsewhere == draw_face(Person.draw(7, 2), View.draw(7, 2, 1)).tobytes()


def test_drawing_leaves_numpys_own_random_numbers_alone():
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    draw_face(Person.draw(7, 0), View.draw(7, 0, 0))
    assert np.random.get_state()[1].tolist() == before


def test_colour_and_pixels_alone_do_not_tell_who_it_is():
    """Best threshold on 300 pairs: what needs no learning stays far below what the tiny networks reach (79 to 86 %)."""
    views = np.array([[draw_face(Person.draw(7, n), View.draw(7, n, k)) for k in range(2)] for n in range(150)], float)
    faces = views[:, :, 40:90, 35:78]
    for described in (faces.mean(axis=(2, 3)), faces.reshape(150, 2, -1)):
        same = np.linalg.norm(described[:, 0] - described[:, 1], axis=1)
        different = np.linalg.norm(described[:, 0] - np.roll(described[:, 1], 1, axis=0), axis=1)
        thresholds = np.concatenate([same, different])[:, None]
        accuracy = ((same < thresholds).mean(axis=1) + (different >= thresholds).mean(axis=1)).max() / 2
        assert accuracy < 0.75
