"""What would stop a run on a checkout is found before its first step: no checkout is needed to say so."""

import numpy as np
import pytest
from easydict import EasyDict

from insightface_cakd.data.bins import write_bin
from insightface_cakd.data.shards import join
from insightface_cakd.errors import DataError, RunError
from insightface_cakd.hosts import preflight
from insightface_cakd.hosts.preflight import check_data, check_run, count_records
from tests.data.record_files import image_record, insightface_set, jpeg, people_folder, write_set


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A record file in InsightFace's style: 3 people, 6 images."""
    return insightface_set(tmp_path_factory.mktemp("records") / "data", [2, 2, 2])


def config(records, tmp_path, **changes):
    values = {
        "rec": str(records), "num_classes": 3, "num_image": 6, "num_epoch": 1, "warmup_epoch": 0, "val_targets": [],
        "batch_size": 2, "margin_list": (1.0, 0.5, 0.0), "optimizer": "sgd",
        "sample_rate": 1.0, "resume": False, "output": str(tmp_path / "out"),
    }  # fmt: skip
    return EasyDict({**values, **changes})


def test_a_config_that_fits_its_data_is_good(records, tmp_path):
    check_run(config(records, tmp_path), world_size=3)


def test_more_ranks_than_classes(records, tmp_path):
    with pytest.raises(RunError, match=r"config: num_classes is 3 on 4 ranks; expected .* Start fewer ranks\."):
        check_run(config(records, tmp_path), world_size=4)


def test_keys_that_only_a_job_can_set(records, tmp_path):
    cfg = config(records, tmp_path, num_image=None)
    cfg.pop("rec")
    with pytest.raises(RunError, match=r"config: rec is not set; a run needs it"):
        check_run(cfg, world_size=1)


def test_resume_without_a_checkpoint(records, tmp_path):
    cfg = config(records, tmp_path)
    cfg.resume = True
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match=r"resume: .*checkpoint_gpu_0.pt does not exist; .*a run that was stopped"):
        check_run(cfg, world_size=2)


def test_labels_beyond_num_classes(records):
    with pytest.raises(RunError, match=r"has labels up to 2, num_classes is 2; .*Set num_classes=3\."):
        check_data(str(records), 2, 2)


def test_less_than_one_batch_over_all_ranks(records):
    with pytest.raises(
        RunError, match=r"6 images; expected at least one batch of 8 over all ranks\. Lower batch_size\."
    ):
        check_data(str(records), 3, 8)


def test_folders_of_people_are_counted_by_their_number(tmp_path):
    folder = people_folder(tmp_path / "faces", {"a": 1, "b": 1, "c": 1})
    check_data(str(folder), 3, 2)
    with pytest.raises(RunError, match=r"has labels up to 2, num_classes is 2"):
        check_data(str(folder), 2, 2)


@pytest.mark.parametrize("litter", [".ipynb_checkpoints/0.jpg", "__MACOSX/a/._0.jpg", "a/._0.jpg", "empty/readme.txt"])
def test_what_arcface_torch_would_take_for_people_and_faces_is_refused(litter, tmp_path):
    folder = people_folder(tmp_path / "faces", {"a": 2, "b": 1})
    (folder / litter).parent.mkdir(parents=True, exist_ok=True)
    (folder / litter).write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"takes every folder for a person .*; expected people and faces only\. .*`cakd data pack`"
    ):
        check_data(str(folder), 2, 2)


def test_files_that_it_does_not_take_are_no_fault(tmp_path):
    folder = people_folder(tmp_path / "faces", {"a": 2, "b": 1})
    for name in (".DS_Store", "a/.DS_Store", "a/Thumbs.db", "._loose.jpg"):
        (folder / name).write_bytes(b"x")
    check_data(str(folder), 2, 2)


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_no_data(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=rf"{folder}: no train.rec and no folders of people; expected .*Correct rec"):
        check_data(str(tmp_path / folder), 3, 2)


def test_synthetic_data_is_not_looked_for():
    check_data("synthetic", 10, 2)


def test_without_a_header_labels_are_read_and_of_a_large_file_a_sample(tmp_path, monkeypatch):
    images = 200
    data = {key: image_record(float(key // 10), key, jpeg(0)) for key in range(images)}
    folder = write_set(tmp_path / "im2rec", data)
    assert count_records(str(folder)) == (images, 20)
    monkeypatch.setattr(preflight, "ALL_LABELS", 100)
    monkeypatch.setattr(preflight, "SAMPLED_LABELS", 50)
    read = []
    scan = preflight.FaceRecords(folder).reader.__class__.scan
    monkeypatch.setattr(
        preflight.FaceRecords(folder).reader.__class__, "scan", lambda self, keys: read.extend(keys) or scan(self, keys)
    )
    assert count_records(str(folder)) == (images, 20)
    assert len(read) == 50
    assert {0, images - 1} <= set(np.array(read).tolist())


@pytest.mark.parametrize(
    ("same", "fault"),
    [
        ([True, False] * 9 + [True, True], "fold 9 of 10 holds 2 same and 0"),
        ([False, False] + [True, False] * 9, "fold 0 of 10 holds 0 same and 2"),
    ],
)
def test_a_verification_set_with_a_fold_of_one_kind(same, fault, records, tmp_path):
    """arcface_torch divides by zero at its first verification."""
    write_bin(records / "dev.bin", [jpeg(1)] * 40, same)
    cfg = config(records, tmp_path, val_targets=["dev"])
    with pytest.raises(RunError, match=rf"dev.bin: {fault} .*Use a larger set"):
        check_run(cfg, world_size=1)
    write_bin(records / "dev.bin", [jpeg(1)] * 40, [True, False] * 10)
    check_run(cfg, world_size=1)


def test_a_set_that_is_not_there_is_passed_over_as_upstream_does(records, tmp_path):
    cfg = config(records, tmp_path, val_targets=["lfw"])
    check_run(cfg, world_size=1)
    assert preflight.verification_sets(cfg) == []


def test_several_record_files_are_not_for_arcface_torch(records, tmp_path):
    join([records], tmp_path / "joined", "own")
    with pytest.raises(RunError, match=r"joined: holds shards\.yaml, several record files; expected one train\.rec"):
        check_data(str(tmp_path / "joined"), 3, 2)
