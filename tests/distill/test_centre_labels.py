"""Class centres and prototypes whose rows belong to other people: refused before a run is built."""

import json
import re

import numpy as np
import pytest
import torch

from insightface_cakd.data.data_set_hash import data_set_hash
from insightface_cakd.data.label_order import LABELS, as_saved, label_order
from insightface_cakd.distill.prototypes import open_prototypes
from insightface_cakd.errors import TeacherError
from insightface_cakd.recipe import parse_recipe
from tests.data.record_files import people_folder
from tests.prototype_files import write_folder
from tests.toy import WIDTH, toy_teacher

TWELVE = {str(number): 2 for number in range(1, 13)}
# Each reads row j as the centre of label j.
BY_LABEL = {
    "logits": {"losses": [{"loss": "kd", "weight": 1}]},
    "frozen": {"losses": [], "head": {"centres": "teacher"}},
}


@pytest.fixture
def data(tmp_path):
    """Folders 1 to 12."""
    return people_folder(tmp_path / "people", TWELVE)


def renumbered(data):
    """Give the same people the labels of their natural order."""
    for name in TWELVE:
        (data / name).rename(data / f"{int(name):02}")
    return data


def opened(content, path, data):
    recipe = parse_recipe({"teacher": {"network": "toy", "centres": [str(path)]}, **content}, "recipe")
    return open_prototypes(recipe, {"teacher": toy_teacher()}, data)


def checkpoint(path, **more):
    torch.save({"state_dict_softmax_fc": {"weight": torch.ones(12, WIDTH)}, **more}, path)
    return path


@pytest.mark.parametrize("content", BY_LABEL.values(), ids=BY_LABEL)
def test_centres_of_a_run_with_the_same_labels_are_taken_without_a_word(content, data, tmp_path, capsys):
    opened(content, checkpoint(tmp_path / "c.pt", **{LABELS: as_saved(label_order(data))}), data)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", BY_LABEL.values(), ids=BY_LABEL)
def test_centres_of_a_run_with_other_labels_are_refused(content, data, tmp_path):
    path = checkpoint(tmp_path / "c.pt", **{LABELS: as_saved(label_order(data))})
    said = (
        rf"teacher\.centres\[0\] {re.escape(str(path))}: made on .*people \(12 people, labels \w+\), the data are .*people \(12 people, "
        r"labels \w+\) now, .*Pass the centres of a teacher trained on these data; a file with `weight` alone is taken"
    )
    with pytest.raises(TeacherError, match=said):
        opened(content, path, renumbered(data))


def test_centres_that_do_not_say_are_taken_with_a_word(data, tmp_path, capsys):
    opened(BY_LABEL["logits"], checkpoint(tmp_path / "c.pt"), data)
    assert (
        capsys.readouterr().out == "teacher.centres: c.pt does not say whose labels its rows have; taken as they are\n"
    )


@pytest.mark.parametrize("known", [None, "synthetic"])
def test_data_without_labels_are_not_compared(known, data, tmp_path, capsys):
    opened(BY_LABEL["logits"], checkpoint(tmp_path / "c.pt", **{LABELS: as_saved(label_order(data))}), known)
    assert capsys.readouterr().out == ""


def test_a_reader_of_centres_that_asks_for_no_label_is_left_alone(data, tmp_path):
    """Logits against the teacher's centres, whatever images: the order of the rows is the same on both sides."""
    content = {"losses": [{"loss": "kd", "weight": 1, "reads": "centre_logits"}]}
    opened(content, checkpoint(tmp_path / "c.pt", **{LABELS: as_saved(label_order(data))}), renumbered(data))


def prototypes(tmp_path, data, order):
    rows = torch.nn.functional.normalize(torch.randn(12, WIDTH), dim=1).numpy()
    return write_folder(tmp_path / "out", rows, data=data_set_hash(data), labels=as_saved(order))


@pytest.mark.parametrize("content", BY_LABEL.values(), ids=BY_LABEL)
def test_prototypes_as_centres_have_the_runs_labels(content, data, tmp_path, monkeypatch):
    """Frozen centres were not compared with the data at all; a hash of a sample misses two among thousands."""
    folder = prototypes(tmp_path, data, label_order(data))
    opened(content, folder, data)
    renumbered(data)
    with pytest.raises(TeacherError, match=r"out: of a data set with hash \w+\.\.\. \(.*people\), the run's data"):
        opened(content, folder, data)
    monkeypatch.setattr(
        "insightface_cakd.distill.prototypes.data_set_hash",
        lambda _: json.loads((folder / "meta.json").read_text())["data"],
    )
    with pytest.raises(
        TeacherError,
        match=r"out: made on .*labels stand for other people; .*Write them again with `cakd data prototypes`",
    ):
        opened(content, folder, data)


def test_prototypes_of_an_earlier_version_are_taken_with_a_word(data, tmp_path, capsys):
    folder = prototypes(tmp_path, data, None)
    meta = json.loads((folder / "meta.json").read_text())
    del meta[LABELS]
    (folder / "meta.json").write_text(json.dumps(meta))
    opened(BY_LABEL["logits"], folder, data)
    assert "out: of an earlier version, which did not note every label; taken as they are" in capsys.readouterr().out
    assert np.isfinite(np.load(folder / "prototypes.npy")).all()
