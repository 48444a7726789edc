"""Somebody who deploys: accuracy, the old gallery, one pair, int8, a pack and another runtime, from one student."""

import pytest

from tests.commands import cakd
from tests.journeys.printed import Shell, printed

pytestmark = pytest.mark.slow
TINY = ("--set", "num_epoch=2", "--set", "batch_size=12", "--set", "warmup_epoch=0", "--set", "val_targets=['dev']")


@pytest.fixture(scope="module")
def desk(shared_data, face_set, tmp_path_factory):
    """A folder with all that the README's commands name: two runs, sets, faces, photos, a detector."""
    folder = tmp_path_factory.mktemp("desk")
    for run in ("teacher", "student"):
        ran = cakd("train", "faces_cnn_tiny", "--data", face_set, "--output", folder / run, *TINY)
        assert ran.code == 0, ran.err
    for command in (
        ("export", folder / "student", folder / "student.onnx"),
        ("data", "unpack", face_set, folder / "faces"),
    ):
        assert cakd(*command).code == 0
    (folder / "data").symlink_to(face_set)
    (folder / "sets").mkdir()
    (folder / "sets" / "dev.bin").symlink_to(face_set / "dev.bin")
    (folder / "photos").symlink_to(shared_data / "photos")
    for name, number in (("a.jpg", 0), ("b.jpg", 1)):
        (folder / name).symlink_to(shared_data / "photos" / f"photo_{number}.jpg")
    (folder / "scrfd_500m.onnx").symlink_to(shared_data / "models" / "scrfd_500m.onnx")
    return folder


def test_every_command_of_the_section_runs_and_leaves_its_file(desk):
    shell = Shell(desk)
    for command in printed("You deploy"):
        shell.run(command)
    for name in ("both.png", "int8.onnx", "my_pack", "student_ncnn"):
        assert (desk / name).exists(), name
