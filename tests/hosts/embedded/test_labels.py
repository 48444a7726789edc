"""A run that goes on has the labels it began with; other ones are refused, in one line, before anything is written."""

import re

import pytest
import torch

from insightface_cakd.data.label_order import LABELS
from insightface_cakd.data.pack import pack
from insightface_cakd.hosts.embedded.checkpoint import ADDED
from insightface_cakd.hosts.generations import KEYS
from tests.commands import cakd, refused, train
from tests.data.record_files import people_folder

TWELVE = {str(number): 4 for number in range(1, 13)}
RESUME = ("--resume",)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A folder with a run of one epoch on folders 1 to 12."""
    monkeypatch.chdir(tmp_path)
    people_folder(tmp_path / "people", TWELVE)
    ran = cakd(*train("people", val_targets=[]))
    assert ran.code == 0, ran.err
    return tmp_path


def edited(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_the_checkpoint_says_whose_label_is_which(stopped):
    saved = torch.load(stopped / "out" / "checkpoint_gpu_0.pt", weights_only=True)[LABELS]
    assert (saved["data"], saved["classes"]) == (str(stopped / "people"), 12)
    assert re.fullmatch("[0-9a-f]{64}", saved["names"])


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_labels_go_on_from_another_place(packed, stopped):
    (stopped / "people").rename(stopped / "moved")
    if packed:
        pack(stopped / "moved", stopped / "packed")
    ran = cakd(*train("packed" if packed else "moved", *RESUME, val_targets=[], num_epoch=2))
    assert ran.code == 0, ran.err
    assert LABELS not in ran.out


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_people_numbered_otherwise_are_refused(packed, stopped):
    """With zeros before them the twelve have their natural order, in which an earlier version numbered them."""
    for name in TWELVE:
        (stopped / "people" / name).rename(stopped / "people" / f"{int(name):02}")
    if packed:
        pack(stopped / "people", stopped / "packed")
    run = train("packed" if packed else "people", *RESUME, val_targets=[], num_epoch=2)
    place = re.escape(str(stopped))
    said = (
        rf"--resume: out/checkpoint_gpu_0\.pt: made on {place}/people \(12 people, labels \w{{8}}\), the data are {place}/\w+ \(12 people, "
        r"labels \w{8}\) now, and their labels stand for other people; expected the same labels\. Resume with the data of the run"
    )
    refused(run, said, stopped)


def test_an_earlier_versions_checkpoint_is_taken_with_a_word(stopped):
    edited(stopped / "out" / "checkpoint_gpu_0.pt", lambda content: content.pop(LABELS))
    ran = cakd(*train("people", *RESUME, val_targets=[], num_epoch=2))
    assert ran.code == 0, ran.err
    assert ran.out.count("no labels (that each label stands for the same person is not checked)") == 1


def test_noise_has_no_labels_and_no_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"val_targets": [], "batch_size": 1024, "num_classes": 64}
    assert cakd(*train("synthetic", **given)).code == 0
    assert torch.load("out/checkpoint_gpu_0.pt", weights_only=True)[LABELS] is None
    edited(tmp_path / "out" / "checkpoint_gpu_0.pt", lambda content: content.pop(LABELS))
    ran = cakd(*train("synthetic", *RESUME, **given, num_epoch=2))
    assert ran.code == 0, ran.err
    assert LABELS not in ran.out


def test_every_key_of_a_checkpoint_is_arcface_torchs_or_is_explained(stopped):
    saved = torch.load(stopped / "out" / "checkpoint_gpu_0.pt", weights_only=True)
    assert saved.keys() == {*KEYS, *ADDED}
