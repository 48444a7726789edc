"""Somebody with photos: from 60 people's pictures to a student, and an answer whether its teacher was worth having."""

import re
import resource

import cv2
import numpy as np
import pytest

from tests.journeys.printed import Shell, printed

PEOPLE, MINUTES, CORES = 60, 10, 2
SIZE = 250

pytestmark = pytest.mark.slow


def write_photos(people, folder):
    """Write pictures with a face in the middle, one folder a person."""
    for person in people:
        (folder / person.name).mkdir(parents=True)
        for path in sorted(person.iterdir()):
            face = cv2.imread(str(path))
            edge = (SIZE - face.shape[0]) // 2
            photo = cv2.copyMakeBorder(face, edge, edge, edge, edge, cv2.BORDER_REFLECT_101)
            cv2.imwrite(str(folder / person.name / path.name), photo)


@pytest.fixture(scope="module")
def desk(shared_data, tmp_path_factory):
    """A folder with photos, a detector and a recogniser under the names that the README gives them."""
    folder = tmp_path_factory.mktemp("desk")
    write_photos(sorted((shared_data / "lfw_train").iterdir())[:PEOPLE], folder / "photos")
    models = shared_data / "models"
    (folder / "scrfd_500m.onnx").symlink_to(models / "scrfd_500m.onnx")
    (folder / "w600k_r50.onnx").symlink_to(models / "edgeface_xs.onnx")
    return folder


def test_photos_become_a_student_within_ten_minutes_and_the_first_line_is_true(desk):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shell = Shell(desk)
    align, quickstart = printed("You have photos")
    assert f" faces of {PEOPLE} people from " in shell.run(align)
    said = shell.run(quickstart)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60 * MINUTES * CORES
    rows = dict(re.findall(r"^\| (teacher|student alone|student \+ distillation) +\| +([\d.]+) %", said, re.MULTILINE))
    verdict = next(line for line in said.splitlines() if line.startswith("The teacher ("))
    assert f"({rows['teacher']} %)" in verdict
    gain = float(rows["student + distillation"]) - float(rows["student alone"])
    assert float(rows["teacher"]) > 90
    assert np.isclose(float(re.search(r"difference +\| +([+-][\d.]+) points", said)[1]), gain, atol=0.011)
    assert list(desk.glob("quickstart*/report.html"))
