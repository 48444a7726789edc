"""`cakd show urfm`: a run of CAKD leaves its snapshots, and the command draws where its centres look."""

import shutil

import cv2
import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.images import encode_png
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.cakd_runs import write_cakd, write_teacher
from tests.commands import cakd, contents, refused, train


@pytest.fixture(scope="module")
def finished(face_set, tmp_path_factory):
    """A folder with a finished run `out`, its data and its teacher; not to be written to."""
    folder = tmp_path_factory.mktemp("cakd")
    shutil.copytree(face_set, folder / "data")
    recipe, teacher = write_cakd(folder / "mine.yaml"), write_teacher(folder / "teacher.pt")
    given = ("--distill", recipe, "--teacher", teacher)
    ran = cakd(*train(folder / "data", *given, output=folder / "out", val_targets=["dev"]))
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture
def place(finished, tmp_path):
    """A copy of the folder to be changed; the run in it looks for its files in the first one."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def face(path, size=112):
    rgb = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    path.write_bytes(encode_png(rgb))
    return path


def size_of(path):
    return cv2.imread(str(path)).shape[:2]


def test_the_run_leaves_two_snapshots_and_nothing_of_them_in_the_students_file(finished):
    names = {path.name for path in (finished / "out").glob("*.pt")}
    assert {"cakd_before.pt", "cakd_after.pt", "model.pt"} <= names
    student = torch.load(finished / "out" / "model.pt", weights_only=True)
    get_model("cnn_tiny", num_features=64).load_state_dict(student, strict=True)
    after = torch.load(finished / "out" / "cakd_after.pt", weights_only=True)
    assert all(torch.equal(after["student"][key], value) for key, value in student.items())
    assert {key.split(".")[0] for key in after["method"]} == {"urfm", "prompts"}


def test_it_draws_the_runs_own_faces(place, tmp_path):
    ran = cakd("show", "urfm", place / "out")
    assert ran.code == 0, ran.err
    assert f"picture: {place / 'out' / 'urfm.png'}" in ran.out
    assert (
        "All 9 centres; the student's map has 7x7 patches, the teacher's 7x7. Numbers are means over 40 faces."
        in ran.out
    )
    assert "goes to tokens that have no place on the face (prompts)" in ran.out
    assert size_of(place / "out" / "urfm.png")[1] > 1500


def test_one_face_makes_a_lower_picture_than_three(finished, tmp_path):
    assert cakd("show", "urfm", finished / "out", "--output", tmp_path / "three.png").code == 0
    one = face(tmp_path / "face.png")
    assert cakd("show", "urfm", finished / "out", "--output", tmp_path / "one.png", "--image", one).code == 0
    assert size_of(tmp_path / "one.png")[0] < size_of(tmp_path / "three.png")[0]


def test_the_same_command_draws_the_same_picture_and_leaves_the_run_as_it_was(finished, tmp_path):
    before = contents(finished)
    for name in ("a.png", "b.png"):
        assert cakd("show", "urfm", finished / "out", "--output", tmp_path / name).code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert contents(finished) == before


def test_a_run_that_was_moved_is_drawn_with_its_files_named(place, finished, tmp_path, monkeypatch):
    for name in ("teacher.pt", "data"):
        (finished / name).rename(finished / f"{name}_away")
    try:
        refused(
            ["show", "urfm", place / "out"], r"teacher weights .*teacher\.pt: does not exist.*--teacher FILE", place
        )
        given = ["show", "urfm", place / "out", "--teacher", place / "teacher.pt"]
        refused(given, r".*data: no such folder; expected the data of the run\. Pass --data DIR", place)
        assert cakd(*given, "--data", place / "data").code == 0
    finally:
        for name in ("teacher.pt", "data"):
            (finished / f"{name}_away").rename(finished / name)


def test_without_a_verification_set_the_training_images_are_drawn(place):
    shutil.move(place / "data" / "dev.bin", place / "dev.bin")
    ran = cakd("show", "urfm", place / "out", "--data", place / "data")
    assert "Numbers are means over 48 faces." in ran.out


def test_a_picture_of_real_people_can_be_given(finished, tmp_path):
    for number in (0, 3):
        (tmp_path / f"{number}.png").write_bytes(encode_png(load_bin(finished / "data" / "dev.bin").images[number]))
    images = [part for number in (0, 3) for part in ("--image", tmp_path / f"{number}.png")]
    assert cakd("show", "urfm", finished / "out", "--output", tmp_path / "fields.pdf", *images).code == 0
    assert (tmp_path / "fields.pdf").read_bytes().startswith(b"%PDF")


class TestRefusals:
    def test_no_such_run(self, tmp_path):
        refused(
            ["show", "urfm", tmp_path / "nowhere"],
            r".*nowhere: no such folder; expected the output of a run of CAKD",
            tmp_path,
        )

    def test_a_run_without_a_teacher_or_without_fields(self, place):
        for name, recipe in (("alone", '{"config": {}}'), ("cosine", '{"recipe": {"teacher": {}, "urfm": null}}')):
            (place / name).mkdir()
            (place / name / "run.json").write_text(recipe)
            refused(
                ["show", "urfm", place / name],
                rf".*{name}: a run without unified receptive fields; .*--distill cakd",
                place,
            )

    def test_a_folder_that_is_no_run(self, place):
        refused(["show", "urfm", place / "data"], r".*cakd_before\.pt: does not exist; expected the snapshot", place)

    @pytest.mark.parametrize("name", ["cakd_before.pt", "cakd_after.pt"])
    def test_a_snapshot_that_is_missing_or_damaged(self, place, name):
        (place / "out" / name).write_bytes(b"PK")
        refused(["show", "urfm", place / "out"], rf".*{name}: cannot be read \(.*\); expected a snapshot", place)
        (place / "out" / name).unlink()
        refused(
            ["show", "urfm", place / "out"],
            rf".*{name}: does not exist; expected the snapshot that a run of CAKD writes",
            place,
        )

    def test_another_teacher(self, place):
        torch.save(get_model("vit_tiny", num_features=64).state_dict(), place / "other.pt")
        refused(["show", "urfm", place / "out", "--teacher", place / "other.pt"], r".*other\.pt.*sha256", place)

    def test_a_face_of_another_size_or_no_image(self, place):
        large = face(place / "large.png", 160)
        refused(
            ["show", "urfm", place / "out", "--image", large],
            r".*large\.png: 160 x 160 pixels; expected .*112 x 112.*Align",
            place,
        )
        refused(["show", "urfm", place / "out", "--image", place / "mine.yaml"], r".*mine\.yaml: .*not an image", place)
        refused(["show", "urfm", place / "out", "--image", place / "none.png"], r".*none\.png: cannot be read", place)

    def test_a_picture_that_is_none(self, place):
        refused(
            ["show", "urfm", place / "out", "--output", place / "a.jpg"],
            r".*a\.jpg: no name of a picture; .*\.png, \.pdf",
            place,
        )


def test_a_run_with_prompts_and_no_fields_has_no_picture(face_set, tmp_path):
    recipe = write_cakd(tmp_path / "mine.yaml", urfm=None, losses=[{"loss": "prompt_anchor", "weight": 1}])
    given = ("--distill", recipe, "--teacher", write_teacher(tmp_path / "teacher.pt"))
    assert cakd(*train(face_set, *given, output=tmp_path / "out")).code == 0
    assert (tmp_path / "out" / "cakd_after.pt").is_file()
    refused(["show", "urfm", tmp_path / "out"], r".*out: a run without unified receptive fields", tmp_path)
