"""What the doctor looks at, and that it fails where a run would."""

import importlib.metadata
import shutil

import pytest

from insightface_cakd import __version__, doctor
from insightface_cakd.doctor import examine
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import shipped_recipes
from tests.commands import cakd
from tests.data.record_files import image_record, jpeg, people_folder, write_set


def bad(config=None, data=None):
    return [finding.text for finding in examine(config, data) if not finding.good]


def lines(config=None, data=None):
    return [str(finding) for finding in examine(config, data)]


def job(folder, **values):
    path = folder / "own.py"
    path.write_text(f"config = {values!r}")
    return str(path)


def test_an_installation_that_is_whole_has_nothing_bad():
    said = lines()
    assert bad() == []
    assert said[0].startswith(f"ok   insightface-cakd {__version__}, Python 3.")
    assert f"ok   torch {importlib.metadata.version('torch')}" in said
    assert any(line.startswith("ok   devices: ") and "cpu with" in line for line in said)
    assert said[-1].startswith(f"ok   {len(shipped_recipes())} shipped recipes: ")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", (*doctor.PACKAGES, "no-such-distribution"))
    assert bad() == ["no-such-distribution: not installed under this name"]


def test_opencv_under_another_name_is_no_fault(monkeypatch):
    version = importlib.metadata.version

    def without_opencv(name):
        if name == "opencv-python":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_opencv)
    assert bad() == []


def test_recipes_that_are_missing_or_broken_are_named(monkeypatch, tmp_path):
    (tmp_path / "broken.yaml").write_text("losses: []")
    monkeypatch.setattr(doctor, "shipped_recipes", lambda: [tmp_path / "broken.yaml"])
    assert bad() == ["recipe broken.yaml: teacher is missing; it must be given."]
    monkeypatch.setattr(doctor, "shipped_recipes", list)
    assert bad() == ["no shipped recipes found; the installation is not whole. Install the package again."]


def test_a_job_with_its_data_and_sets(face_set):
    assert bad("faces_cnn_tiny", face_set) == []
    assert f"ok   {face_set}: 48 images of 12 people" in lines("faces_cnn_tiny", face_set)
    assert "ok   val_targets: dev.bin found" in lines("faces_cnn_tiny", face_set)


def test_a_job_without_data_would_not_start():
    found = bad("faces_cnn_tiny")
    assert found == ["config faces_cnn_tiny: rec is not set; a run needs it. Pass --data with the folder of train.rec."]


@pytest.mark.parametrize("kind", ["records", "a folder of people", "synthetic"])
def test_every_kind_of_data_that_a_run_takes_is_taken(kind, face_set, tmp_path):
    rec = {"records": str(face_set), "synthetic": "synthetic"}.get(kind, str(tmp_path / "faces"))
    people_folder(tmp_path / "faces", {"anna": 2, "berta": 2})
    assert bad(job(tmp_path, rec=rec, network="cnn_tiny", num_classes=64)) == []


def test_more_people_than_classes(face_set, tmp_path):
    found = bad(job(tmp_path, rec=str(face_set), num_classes=5))
    assert found == ["num_classes is 5, the records hold labels up to 11. Raise num_classes."]


def test_a_verification_set_that_is_missing(face_set, tmp_path):
    found = bad(job(tmp_path, rec=str(face_set), val_targets=["dev", "lfw"]))
    assert found == [f"val_targets: lfw.bin is not in {face_set}"]


def test_data_that_cannot_be_read(tmp_path, face_set):
    assert bad(data=tmp_path / "nowhere")[0].startswith(f"{tmp_path / 'nowhere'}: no such folder")
    shutil.copytree(face_set, tmp_path / "data")
    (tmp_path / "data" / "train.idx").unlink()
    assert bad(data=tmp_path / "data")[0].startswith(f"{tmp_path / 'data' / 'train.idx'}: cannot be read")
    write_set(tmp_path / "odd", {0: image_record(0.5, 0, jpeg(0)), 1: image_record(1, 1, jpeg(1))})
    assert "label 0.5 is not an identity" in bad(data=tmp_path / "odd")[0]


def test_a_job_that_is_not_there():
    assert bad("faces_cnn")[0].startswith("config faces_cnn: no such file and no such job")


def test_the_exit_code_follows(face_set, monkeypatch):
    assert cakd("doctor").code == 0
    assert cakd("doctor", "--config", "faces_cnn_tiny", "--data", face_set).code == 0
    failed = cakd("doctor", "--config", "faces_cnn_tiny")
    assert failed.code == 1
    assert "FAIL config faces_cnn_tiny: rec is not set" in failed.out


def test_the_doctors_jobs_build(face_set):
    """A job that it calls good names a network that exists."""
    for name in ("faces_cnn_tiny", "faces_vit_tiny"):
        cfg = doctor.get_config(name)
        get_model(cfg.network, num_features=cfg.embedding_size)
