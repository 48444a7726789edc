"""A config of the embedded host, its data and its verification sets."""

import shutil

import pytest

from insightface_cakd.doctor import data as doctor_data
from insightface_cakd.doctor.data import examine_faces
from tests.data.record_files import image_record, insightface_set, jpeg, labelled_record, people_folder, write_set
from tests.doctor.asking import lines, problems


def job(folder, **values):
    path = folder / "own.py"
    path.write_text(f"config = {values!r}")
    return str(path)


def test_a_job_with_its_data_and_sets(face_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert problems("faces_cnn_tiny", face_set, settings=("batch_size=8",)) == []
    said = lines("faces_cnn_tiny", face_set, settings=("batch_size=8",))
    assert any(line.startswith("ok      config faces_cnn_tiny: network cnn_tiny, num_classes open,") for line in said)
    assert f"ok      {face_set}: 48 images of 12 people, labels 0 to 11" in said
    assert "ok      val_targets: dev.bin, 20 pairs" in said
    assert not list(tmp_path.iterdir()), "nothing is written"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "cnn_tinny"}, "network: 'cnn_tinny' is not a known network; "),
        ({"optimizer": "lion"}, "config: optimizer is 'lion'; expected sgd or adamw"),
        ({"lr": "fast"}, "config: lr is 'fast'; expected a number"),
        ({"batch_size": 1}, "config: batch_size is 1; expected a whole number of at least 2"),
        ({"device": "tpu"}, "device 'tpu': not a device"),
        ({"dali": True}, "dali: the embedded host reads records itself"),
        ({"margin_list": (1.0, 0.3, 0.2)}, "margin_list (1.0, 0.3, 0.2) is not supported"),
        ({"sample_rate": 2}, "sample_rate is 2; expected a share in [0, 1]"),
        (
            {"num_classes": 5},
            "{data}: image 20 has label 5, and 28 images like it are outside [0, 5); expected labels below",
        ),
        (
            {"val_targets": ["dev", "lfw"]},
            "val_targets: {data}/lfw.bin does not exist; found: dev. Remove lfw from val_targets,",
        ),
    ],
    ids=str,
)
def test_one_thing_wrong_is_one_problem_in_the_words_of_the_run(changes, message, face_set, tmp_path):
    config = job(tmp_path, **{"rec": str(face_set), "network": "cnn_tiny", "batch_size": 8, **changes})
    (told,) = problems(config)
    assert told.startswith(message.format(data=face_set))


def test_what_is_wrong_with_the_teacher_does_not_hide_what_is_wrong_with_the_config(face_set, tmp_path):
    config = job(tmp_path, rec=str(face_set), network="cnn_tiny", batch_size=100)
    assert len(problems(config, distill="cosine")) == 2


def test_a_batch_larger_than_the_data(face_set, tmp_path):
    assert problems(job(tmp_path, rec=str(face_set), network="cnn_tiny", batch_size=100)) == [
        f"{face_set}: 48 images per rank; expected at least one batch of 100. Lower batch_size."
    ]


def test_sample_rate_0_runs_on_the_embedded_host(face_set, tmp_path):
    config = job(tmp_path, rec=str(face_set), network="cnn_tiny", batch_size=8, sample_rate=0)
    assert problems(config) == []
    assert any(
        "sample_rate is 0: of all classes a step uses those of its own images only" in line for line in lines(config)
    )


def test_a_folder_that_holds_another_run(face_set, tmp_path):
    (tmp_path / "model.pt").touch()
    told = problems("faces_cnn_tiny", face_set, settings=(f"output={str(tmp_path)!r}", "batch_size=8"))
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path}: holds another run (model.pt); expected a new folder.")


def test_settings_are_those_of_train(face_set):
    assert problems("faces_cnn_tiny", face_set, settings=("num_epochs=3",))[0].startswith(
        "--set num_epochs=3: the config has no key 'num_epochs'"
    )


def test_a_job_without_data_would_not_start():
    assert problems("faces_cnn_tiny") == [
        "config: rec is not set; a run needs it. Pass --set rec=..., or set it in the config file."
    ]


@pytest.mark.parametrize("kind", ["records", "a folder of people", "synthetic"])
def test_every_kind_of_data_that_a_run_takes_is_taken(kind, face_set, tmp_path):
    rec = {"records": str(face_set), "synthetic": "synthetic"}.get(kind, str(tmp_path / "faces"))
    people_folder(tmp_path / "faces", {"anna": 2, "berta": 2})
    assert problems(job(tmp_path, rec=rec, network="cnn_tiny", num_classes=64, batch_size=2)) == []


def test_more_people_than_classes_and_fewer(face_set, tmp_path):
    people_folder(tmp_path / "faces", {"anna": 2, "berta": 2, "clara": 2})
    (told,) = problems(job(tmp_path, rec=str(tmp_path / "faces"), network="cnn_tiny", num_classes=2, batch_size=2))
    assert told.endswith("expected labels below num_classes. Set num_classes to 3, or pack the data again.")
    said = lines(job(tmp_path, rec=str(face_set), network="cnn_tiny", num_classes=20, batch_size=8))
    assert f"note    {face_set}: 12 people, num_classes is 20: 8 class centres get no image." in said


def test_labels_that_the_header_does_not_count(tmp_path):
    folder = insightface_set(tmp_path / "data", [2, 2])
    with_more = {0: labelled_record((3, 4), 0), 1: image_record(0, 1, jpeg(1)), 2: image_record(7, 2, jpeg(2))}
    write_set(folder, with_more)
    said = lines(data=folder)
    assert (
        f"note    {folder}: train.rec's header counts 1 people, fewer than there are labels. Pack the data again."
        in said
    )


def test_of_a_large_file_a_sample_of_labels_is_read(tmp_path, monkeypatch):
    folder = insightface_set(tmp_path / "data", [5] * 8)
    monkeypatch.setattr(doctor_data, "ALL_LABELS", 10)
    monkeypatch.setattr(doctor_data, "SAMPLED_LABELS", 4)
    told = [str(line) for line in examine_faces(str(folder), 8)]
    assert told == [f"ok      {folder}: 40 images of 8 people, labels 0 to 7, of 4 read"]


def test_data_that_cannot_be_read(tmp_path, face_set):
    assert problems(data=tmp_path / "nowhere")[0].startswith(f"{tmp_path / 'nowhere'}: no such folder")
    shutil.copytree(face_set, tmp_path / "data")
    (tmp_path / "data" / "train.idx").unlink()
    assert problems(data=tmp_path / "data")[0].startswith(f"{tmp_path / 'data' / 'train.idx'}: cannot be read")


def test_a_label_that_is_none_and_an_image_that_is_none(tmp_path):
    odd = write_set(tmp_path / "odd", {0: image_record(0.5, 0, jpeg(0)), 1: image_record(1, 1, jpeg(1))})
    assert "label 0.5 is not an identity" in problems(data=odd)[0]
    small = write_set(tmp_path / "small", {0: image_record(0, 0, jpeg(0)), 1: image_record(1, 1, jpeg(1, 96, 96))})
    assert "96 x 96 pixels; expected 112 x 112" in problems(data=small)[0]


def test_a_verification_set_that_is_damaged_or_too_small(tmp_path, face_set):
    shutil.copytree(face_set, tmp_path / "data")
    (tmp_path / "data" / "lfw.bin").write_bytes(b"no pickle")
    told = problems(job(tmp_path, rec=str(tmp_path / "data"), network="cnn_tiny", batch_size=8, val_targets=["lfw"]))
    assert len(told) == 1
    assert "lfw.bin: not a readable pickle" in told[0]


def test_a_job_that_is_not_there_and_its_data_is_still_looked_at(face_set):
    assert problems("faces_cnn", face_set)[0].startswith("config faces_cnn: no such file and no such job; jobs: ")
    assert lines("faces_cnn", face_set)[-1] == f"ok      {face_set}: 48 images of 12 people, labels 0 to 11"
