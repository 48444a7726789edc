"""A run whose fields have two pairs of taps: it learns, goes on to the bit after a stop, is shown, and leaves a plain student."""

import pytest
import torch

from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.cakd_runs import RECIPE, write_cakd, write_teacher
from tests.commands import cakd
from tests.tasks.runs import arguments, check_resumed

FIELDS = {**RECIPE["urfm"], "more": [{"student": "layer3", "teacher": "blocks.1"}]}


@pytest.fixture
def run(face_set, tmp_path, monkeypatch):
    """Return what runs the recipe into a folder."""
    monkeypatch.chdir(tmp_path)
    recipe, teacher = write_cakd(tmp_path / "mine.yaml", urfm=FIELDS), write_teacher(tmp_path / "teacher.pt")
    return lambda output, *more: cakd(*arguments(face_set, output, recipe, "--teacher", teacher, *more))


def test_it_trains_both_mappings_and_is_exported_and_shown(run, tmp_path):
    ran = run("out")
    assert ran.code == 0, ran.err
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    plain = get_model("cnn_tiny", num_features=64)
    assert list(state) == list(plain.state_dict())
    plain.load_state_dict(state, strict=True)
    assert export_run(tmp_path / "out", tmp_path / "student.onnx", get_model)
    first, last = (torch.load(tmp_path / "out" / f"cakd_{when}.pt", weights_only=True) for when in ("before", "after"))
    for key in ("urfm.readout.weight", "urfm.more.0.readout.weight", "urfm.more.0.scaled.student.moments"):
        assert not torch.equal(first["method"][key], last["method"][key]), key
    shown = cakd("show", "urfm", "out")
    assert shown.code == 0, shown.err
    assert (tmp_path / "out" / "urfm.png").stat().st_size > 10_000


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_student(run, tmp_path):
    check_resumed(run, tmp_path)
