"""Class centres of the teacher that are not there or do not fit: one line through the command line, nothing written."""

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, refused, train

NAMES = ("proxylesskd", "margin_distillation")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with the weights of an untrained teacher."""
    monkeypatch.chdir(tmp_path)
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "teacher.pt")
    return tmp_path


@pytest.mark.parametrize("recipe", NAMES)
def test_no_centres(recipe, here, face_set):
    message = r"recipe: head\.centres: teacher needs the teacher's class centres, but teacher\.centres is empty; .*--centres FILE"
    refused(train(face_set, "--distill", recipe, "--teacher", "teacher.pt"), message, here)


@pytest.mark.parametrize("recipe", NAMES)
@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((11, 64), {}, r"teacher centres \(11, 64\) do not fit a training set of 12 classes; expected one row per class"),
        ((13, 64), {}, r"teacher centres \(13, 64\) do not fit a training set of 12 classes; .*every shard of it"),
        ((12, 32), {}, r"teacher centres \(12, 32\) do not fit a teacher of width 64"),
        ((12, 64), {"embedding_size": 32}, r"head\.centres: the student's embeddings have 32 values, the teacher's 64; .* to 64"),
    ],
    ids=["too few", "too many", "another teacher's", "a narrower student"],
)  # fmt: skip
def test_centres_that_do_not_fit(recipe, shape, settings, message, here, face_set):
    torch.save({"weight": torch.eye(*shape) + 0.1}, here / "head.pt")
    given = ("--distill", recipe, "--teacher", "teacher.pt", "--centres", "head.pt")
    run = train(face_set, *given, num_classes=12, **settings)
    line = refused(run, message, here)
    examined = cakd("doctor", "--config", run[1], *run[4:])
    assert examined.code == 1
    assert f"problem {line}" in examined.out


def test_a_student_of_another_width_than_the_centres_that_would_follow_its_teacher(here, face_set):
    run = train(face_set, "--distill", "adadistill", "--teacher", "teacher.pt", embedding_size=32)
    refused(run, r"head\.centres: the student's embeddings have 32 values, the teacher's 64", here)


def test_shards_are_joined_and_a_missing_one_is_noticed(here, face_set):
    for number, rows in enumerate((5, 7)):
        torch.save({"weight": torch.randn(rows, 64)}, here / f"head{number}.pt")
    run = train(face_set, "--distill", "proxylesskd", "--teacher", "teacher.pt", "--centres", "head0.pt")
    refused(run, r"teacher centres \(5, 64\) do not fit a training set of 12 classes; .*every shard of it", here)
    assert cakd(*run, "--centres", "head1.pt").code == 0
    state = torch.load(here / "out" / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
    joined = torch.cat([torch.load(here / f"head{number}.pt", weights_only=True)["weight"] for number in range(2)])
    assert torch.equal(state["weight"], joined)
