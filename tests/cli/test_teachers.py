"""Teachers as a user gives them: a run's folder, and what the run says of teacher and student."""

import json

import pytest

from tests.commands import cakd, train, write_recipe


@pytest.fixture(scope="module")
def teacher_run(face_set, tmp_path_factory):
    """Return the folder of a finished run of a tiny ViT."""
    folder = tmp_path_factory.mktemp("teacher")
    arguments = train(face_set, output=folder / "run")
    done = cakd("train", "faces_vit_tiny", *arguments[2:])
    assert done.code == 0, done.err
    return folder / "run"


@pytest.mark.parametrize("name", ["", "model.pt", "best.pt"])
def test_a_runs_folder_teaches_with_its_own_network(name, teacher_run, face_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path / "own.yaml", network="cnn_tiny")
    done = cakd(*train(face_set, "--distill", "own.yaml", "--teacher", teacher_run / name, val_targets=["dev"]))
    assert done.code == 0, done.err
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["recipe"]["teacher"]["network"], run["teacher"]["name"]) == ("vit_tiny", "vit_tiny")
    teacher = run["teacher"]["sets"]["dev"]
    student = json.loads((tmp_path / "out" / "result.json").read_text())["accuracy"]["dev"]
    assert done.out.count(f"vit_tiny, {100 * teacher:.2f} % on dev, sha256 ") == 1
    assert done.out.count(f"dev: student {100 * student:.2f} %, teacher ") == 1
    assert "\ndev: 0." not in done.out
    last = next(line for line in done.out.splitlines() if line.startswith("dev: student"))
    assert last.startswith(f"dev: student {100 * student:.2f} %, teacher {100 * teacher:.2f} %")
    assert ("the student ends above its teacher" in last) == (student > teacher)


def test_a_student_starts_from_a_runs_folder(teacher_run, face_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path / "own.yaml")
    given = ("--distill", "own.yaml", "--teacher", teacher_run, "--init", teacher_run)
    done = cakd("train", "faces_vit_tiny", *train(face_set, *given, val_targets=[])[2:])
    assert done.code == 0, done.err


def test_the_doctor_measures_what_a_run_would_start_with(teacher_run, face_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path / "own.yaml")
    given = ("--distill", "own.yaml", "--teacher", teacher_run, "--init", teacher_run)
    done = cakd("doctor", "--config", "faces_vit_tiny", *train(face_set, *given, val_targets=["dev"])[4:])
    assert done.code == 0, done.out
    told = [line for line in done.out.splitlines() if "teacher vit_tiny: " in line]
    assert "pairs (separation" in told[1]
    assert "on dev, given rgb, mean 0.5, std 0.5" in told[1]
    assert any("on dev as bgr, " in line for line in told)
    assert "student before its first step: " in done.out
