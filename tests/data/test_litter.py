"""What systems, archives and notebooks leave beside faces changes no result, and is counted in one line."""

import shutil

import pytest

from insightface_cakd.data.liveness import read_liveness
from insightface_cakd.data.split import split_faces
from insightface_cakd.evaluate.identify.folders import find_pictures
from insightface_cakd.evaluate.pairs.sets import find_sets
from tests.commands import cakd
from tests.data.record_files import content, jpeg, people_folder

LITTER = (".ipynb_checkpoints/0-checkpoint.jpg", "__MACOSX/p1/._0.jpg", "p1/.ipynb_checkpoints/0.jpg", "p2/._0.jpg")


@pytest.fixture
def clean(tmp_path):
    return people_folder(tmp_path / "clean", {f"p{number}": 5 for number in range(12)})


@pytest.fixture
def littered(clean, tmp_path):
    """The same people, with copies of faces where no person is."""
    folder = shutil.copytree(clean, tmp_path / "littered")
    for name in LITTER:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "p1" / "0.jpg", folder / name)
    return folder


def test_records_are_those_of_the_clean_folder(clean, littered, tmp_path):
    for folder in (clean, littered):
        ran = cakd("data", "pack", folder, tmp_path / f"{folder.name}_rec")
        assert ran.code == 0, ran.err
    assert "skipped, no image or in no person's folder: 4 (.ipynb_checkpoints/; " in ran.out
    assert content(tmp_path / "littered_rec") == content(tmp_path / "clean_rec")


def test_pairs_and_splits_are_those_of_the_clean_folder(clean, littered, tmp_path):
    for folder in (clean, littered):
        ran = cakd("data", "make-bin", folder, tmp_path / f"{folder.name}.bin", "--pairs", "40")
        assert ran.code == 0, ran.err
        split_faces(folder, tmp_path / f"{folder.name}_split", "dev", seed=3, pairs=20)
    assert "person's folder: 4 (" in ran.out
    assert (tmp_path / "littered.bin").read_bytes() == (tmp_path / "clean.bin").read_bytes()
    assert content(tmp_path / "littered_split") == content(tmp_path / "clean_split")


def test_training_on_the_folder_itself_takes_the_people_only(littered, tmp_path):
    settings = (
        "num_epoch=1",
        "batch_size=16",
        "embedding_size=32",
        "num_workers=0",
        "warmup_epoch=0",
        "device=cpu",
        "val_targets=[]",
    )
    more = [part for setting in settings for part in ("--set", setting)]
    ran = cakd("train", "faces_cnn_tiny", "--data", littered, "--output", tmp_path / "out", *more)
    assert ran.code == 0, ran.err
    assert "12 classes" in ran.err
    assert "littered: skipped, no image or in no person's folder: 4 (" in ran.out


def test_other_readers_of_folders_leave_it_out(littered, tmp_path):
    for name in ("a/live/0.jpg", "a/spoof/0.jpg", "a/live/._0.jpg", "__MACOSX/live/0.jpg"):
        (tmp_path / "live" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "live" / name).write_bytes(jpeg(1))
    faces = read_liveness(tmp_path / "live")
    assert (faces.domains, len(faces)) == (("a",), 2)
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for number in range(2):
        (strangers / f"{number}.jpg").write_bytes(jpeg(500 + number))
    (strangers / "._0.jpg").write_bytes(jpeg(900))
    assert len(find_pictures(littered, strangers).distractors) == 2
    for name in ("dev.bin", "._dev.bin"):
        (littered / name).write_bytes(b"")
    assert list(find_sets([littered])) == ["dev"]
