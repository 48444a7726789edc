"""A config of a checkout: what is wrong with it is told in the words of the run, and what only deserves a note stops nothing."""

import pytest
import torch

from insightface_cakd.data.bins import write_bin
from insightface_cakd.doctor import examine
from tests.data.record_files import image_record, insightface_set, jpeg, labelled_record, people_folder, write_set
from tests.doctor.asking import of, texts


def test_a_job_that_fits(job, records, host):
    found = job()
    assert texts(found, "problem") == []
    said = texts(found, "ok")
    assert "config configs/own: network linear, num_classes 3, batch_size 2, lr 0.1, num_epoch 1, output out" in said
    assert f"{records}: 6 images of 3 people, labels 0 to 2" in said
    assert "steps: 3 by num_image, of 2 images on 1 rank" in said
    assert any(text.startswith("first batch: 2 images, loss ") for text in said)
    assert any(text.startswith("val_targets: empty, the run verifies nothing.") for text in texts(found, "note"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_image": ...}, "config: num_image is not set; a run needs it."),
        ({"rec": ...}, "config: rec is not set; a run needs it."),
        ({"sample_rate": 2}, "config: sample_rate is 2; expected a share above 0, up to 1; "),
        ({"margin_list": (1.0, 0.5)}, "config: margin_list is (1.0, 0.5); expected three numbers"),
        ({"network": "r51"}, "train_v2.py stopped at {host}/backbones/__init__.py:6: ValueError: raise ValueError()."),
        (
            {"resume": True},
            "resume: out/checkpoint_gpu_0.pt does not exist; expected the checkpoint of a run that was stopped",
        ),
        ({"batch_size": 1}, "config: batch_size is 1; expected a whole number of at least 2; otherwise batch norm"),
        ({"optimizer": "lion"}, "config: optimizer is 'lion'; expected sgd or adamw. Correct it."),
        ({"sample_rate": 0}, "config: sample_rate is 0; expected a share above 0, up to 1; with 0 "),
        (
            {"margin_list": (0.9, 0.4, 0.0)},
            "config: margin_list is (0.9, 0.4, 0.0); expected (1.0, m2, 0.0) or (1.0, 0.0, m3)",
        ),
        ({"dali": True}, "config: dali is True, but DALI is not installed. Set dali=False, or pip install nvidia-dali"),
        (
            {"using_wandb": True},
            "config: using_wandb is True, but wandb is not installed. Set using_wandb=False, or pip",
        ),
        (
            {"num_classes": 2},
            "{records}: has labels up to 2, num_classes is 2; expected labels below num_classes, since",
        ),
        (
            {"val_targets": ["lfw"]},
            "val_targets: {records}/lfw.bin does not exist, found: none; expected the set. Remove lfw",
        ),
        ({"val_targets": "dev"}, "config: val_targets is 'dev'; expected a list of names"),
        ({"num_epoch": 1.5}, "config: num_epoch is 1.5; expected a whole number of at least 1"),
        ({"batch_size": 7}, "{records}: 6 images; expected at least one batch of 7 over all ranks. Lower batch_size."),
        ({"rec": "/nowhere"}, "/nowhere: no train.rec and no folders of people"),
        (
            {"output": "/dev/null/out"},
            "output: /dev/null is no folder that can be written; expected one for /dev/null/out.",
        ),
    ],
    ids=str,
)
def test_one_thing_wrong_is_one_problem(changes, message, job, records, host):
    told = texts(job(**changes), "problem")
    assert len(told) == 1
    assert told[0].startswith(message.format(records=records, host=host))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_image": 2}, "plans 1 steps and the run has 3: its learning rate is 0 from step 1 on. Set num_image=6."),
        ({"num_image": 1}, "plans 0 steps and the run has 3: its learning rate never falls. Set num_image=6."),
        ({"num_image": 60}, "plans 30 steps and the run has 3: its learning rate does not fall to 0. Set num_image=6."),
        (
            {"num_image": 7},
            "plans 3 steps and the run has 3: its learning rate falls to 0 as the run ends. Set num_image=6.",
        ),
        ({"num_classes": 5}, "3 people, num_classes is 5: 2 class centres get no image."),
        ({"warmup_epoch": 1}, "warmup_epoch is 1 of 1 epochs; the learning rate never falls."),
        ({"margin_list": (1.0, 0.5, 0.4)}, "margin_list is (1.0, 0.5, 0.4), of which arcface_torch uses m3 = 0.4 only"),
    ],
    ids=str,
)
def test_what_is_worth_knowing_and_stops_nothing(changes, message, job):
    found = job(**changes)
    assert texts(found, "problem") == []
    assert any(message in text for text in texts(found, "note")), [str(finding) for finding in found]


def test_a_run_too_short_to_be_verified_and_an_output_that_is_overwritten(job, host, tmp_path, face_set):
    (tmp_path / "work" / "out").mkdir()
    (tmp_path / "work" / "out" / "model.pt").touch()
    found = job("verbose=100", "num_epoch=2", rec=str(face_set), num_classes=12, num_image=48, val_targets=["dev"])
    assert texts(found, "problem") == []
    notes = texts(found, "note")
    assert (
        "config: verbose is 100, the run has 48 steps; arcface_torch verifies every 100 steps, so never. Set verbose=24."
        in notes
    )
    assert (
        "output: out holds another run's model.pt, which arcface_torch overwrites. Set output=DIR to keep it." in notes
    )
    assert "val_targets: dev.bin, 20 pairs" in texts(found, "ok")


def test_every_kind_of_data(job, tmp_path):
    folder = people_folder(tmp_path / "faces", {"anna": 2, "berta": 2})
    found = job(rec=str(folder))
    assert texts(found, "problem") == []
    assert f"{folder}: 4 images of 2 people" in texts(found, "ok")
    assert texts(job(rec=str(folder), num_classes=1), "problem")[0].startswith(
        f"{folder}: has labels up to 1, num_classes is 1;"
    )
    assert texts(job(rec="synthetic"), "problem") == []


def test_records_that_only_arcface_torch_misreads(job, tmp_path):
    from_one = write_set(tmp_path / "one", {key: image_record(0, key, jpeg(key)) for key in (1, 2, 3)})
    assert "record 0 is missing; arcface_torch reads it first" in texts(job(rec=str(from_one)), "problem")[0]
    labelled = write_set(tmp_path / "two", {key: labelled_record((0.0, 5.0), key, jpeg(key)) for key in (0, 1, 2)})
    assert (
        "record 0 is an image with several labels; arcface_torch takes it for a header"
        in texts(job(rec=str(labelled)), "problem")[0]
    )


def test_data_replaces_rec_and_is_looked_at_without_a_config(host, job, records):
    job(rec="/nowhere")
    assert texts(of(host, config="own", data=records), "problem") == []
    assert of(host, data=records)[-1].text == f"{records}: 6 images of 3 people, labels 0 to 2"


def test_a_recipe_enters_the_checkouts_own_student(host, job, records, tmp_path):
    job()
    (tmp_path / "recipe.yaml").write_text("teacher: {network: linear}\nlosses: [{loss: cosine, weight: 1}]")
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(37632, 8)).state_dict(), tmp_path / "teacher.pt")
    given = {"config": "own", "distill": str(tmp_path / "recipe.yaml"), "teacher": str(tmp_path / "teacher.pt")}
    found = of(host, **given)
    assert texts(found, "problem") == []
    assert "student linear: fits the recipe's taps and losses, embeddings of 8 values" in texts(found, "ok")
    wider = texts(of(host, **given, settings=("embedding_size=16",)), "problem")
    assert wider == ["term 'cosine': student (16,) vs teacher (8,); expected equal shapes. Set projector: linear."]


def test_more_ranks_than_classes(job, monkeypatch):
    monkeypatch.setattr(examine, "world_size", lambda: 4)
    (told,) = texts(job(num_image=8), "problem")
    assert told.startswith("config: num_classes is 3 on 4 ranks; expected at least one class a rank")


def test_a_verification_set_with_a_fold_of_one_kind(job, tmp_path):
    folder = insightface_set(tmp_path / "data", [2, 2, 2])
    write_bin(folder / "lfw.bin", [jpeg(key) for key in range(40)], [True] * 10 + [False] * 10)
    told = texts(job(rec=str(folder), val_targets=["lfw"]), "problem")
    assert len(told) == 1
    assert told[0].startswith(f"{folder / 'lfw.bin'}: fold 0 of 10 holds 2 same and 0 different pairs;")
