"""`cakd quickstart --task liveness`: small, from drawn domains to report."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from insightface_cakd.data.faces.live import DOMAINS, draw_live, write_live_faces
from insightface_cakd.data.liveness import read_liveness
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.quickstart import liveness as quickstart
from tests.commands import cakd


@pytest.mark.slow
def test_the_quickstart_ends_with_a_table_a_model_and_a_report(tmp_path, monkeypatch):
    small = {"people": 8, "pictures": 2, "epochs": 1, "known": 16, "shown": 4, "teacher_epochs": 1}
    monkeypatch.setattr(quickstart, "SIZES", quickstart.Sizes(**small, steps=2, batch=8))
    monkeypatch.chdir(tmp_path)
    ran = cakd("quickstart", "--task", "liveness", "--output", "work", "--seed", 7)
    assert ran.code == 0, ran.err
    lines = [line for line in ran.out.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == ["model", "AUC", "EER", "HTER"]
    assert [row[0] for row in rows[2:]] == ["student alone", "student + dtda"]
    assert all(0 <= float(cell) <= 1 for row in rows[2:] for cell in row[1:])
    work = tmp_path / "work"
    session = onnxruntime.InferenceSession(work / "student.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, 112, 112), np.float32)})
    assert logits.shape == (1, 2)
    assert "teacher" in {entry.key for entry in onnx.load(work / "student.onnx").metadata_props}
    report = (work / "report.html").read_text()
    for said in ("DET", "tested on evening", "Recipe of student + dtda", "<svg"):
        assert said in report
    alone, distilled = (torch.load(work / run / "model.pt", weights_only=True) for run in ("alone", "distilled"))
    get_model("cnn_tiny", num_features=2).load_state_dict(distilled, strict=True)
    assert not all(torch.equal(alone[key], distilled[key]) for key in alone), "the teachers made a difference"


def test_the_drawn_domains_have_both_kinds_of_other_people(tmp_path):
    write_live_faces(tmp_path, people=2, pictures=1, seed=3)
    faces = read_liveness(tmp_path).require_both_kinds(domains=3)
    assert len(faces) == 12
    assert faces.live.sum() == 6
    people = [{file.split("/")[2] for file in faces.files if file.startswith(domain.name)} for domain in DOMAINS]
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_a_replay_has_a_grating_of_its_screens_period_and_equal_seeds_give_equal_pictures(domain):
    shown = domain.screen.replay(np.full((112, 112, 3), 128), np.random.default_rng(5))
    plain = shown[16:96, 16:96, 1] - shown[16:96, 16:96].mean(axis=2)
    power = np.abs(np.fft.fft2((plain - plain.mean()) * np.outer(np.hanning(80), np.hanning(80))))
    down, across = np.unravel_index(power.argmax(), power.shape)
    period = 80 / np.hypot(min(down, 80 - down), min(across, 80 - across))
    low, high = domain.screen.period
    assert 0.8 * low < period < 1.25 * high
    assert np.array_equal(draw_live(domain, 1, 2, 3, False), draw_live(domain, 1, 2, 3, False))
    assert not np.array_equal(draw_live(domain, 1, 2, 3, False), draw_live(domain, 1, 2, 3, True))
