"""`cakd quickstart --task landmarks`: small, from drawn faces to report."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from insightface_cakd.data.faces.draw import draw_face, face_points
from insightface_cakd.data.faces.person import Person
from insightface_cakd.data.faces.points import loose_view
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.quickstart import landmarks as quickstart
from tests.commands import cakd


@pytest.mark.slow
def test_the_quickstart_ends_with_a_table_a_model_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "SIZES", quickstart.Sizes(people=18, others=4, pictures=4, epochs=1))
    monkeypatch.chdir(tmp_path)
    ran = cakd("quickstart", "--task", "landmarks", "--output", "work", "--seed", 7)
    assert ran.code == 0, ran.err
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in ran.out.splitlines() if line.startswith("|")
    ]
    assert rows[0] == ["points of", "NME (eye centres)", "AUC at 0.08", "failures at 0.08"]
    assert [row[0] for row in rows[2:]] == ["mean shape", "teacher", "student alone", "student + distillation"]
    assert all(0 < float(row[1]) < 2 for row in rows[2:])
    assert re.search(r"student\.onnx: .* 5 points, .*loads it as Landmark, key landmark_2d_5", ran.out)
    work = tmp_path / "work"
    assert {"data", "teacher", "alone", "distilled", "student.onnx", "report.html"} <= {
        one.name for one in work.iterdir()
    }
    metadata = {entry.key: entry.value for entry in onnx.load(work / "student.onnx").metadata_props}
    assert metadata["teacher"] == "vit_tiny"
    report = (work / "report.html").read_text()
    for said in ("Largest errors", "Errors about the median", "student + distillation"):
        assert said in report
    alone, distilled = (torch.load(work / run / "model.pt", weights_only=True) for run in ("alone", "distilled"))
    get_model("cnn_tiny", num_features=10).load_state_dict(distilled, strict=True)
    assert not all(torch.equal(alone[key], distilled[key]) for key in alone), "the teacher made a difference"


def test_drawn_faces_have_their_points_where_they_are_drawn():
    """What shutting the eyes changes lies about the eyes' centres."""
    for number in range(12):
        person = Person.draw(3, number)
        view = loose_view(3, number, 0)
        plain = replace(view, gaze=np.zeros(2), lids=0.0, cover="", blur=0, noise=0, detail=112)
        shut = replace(plain, lids=0.9)
        image, closed = (draw_face(person, one).astype(int) for one in (plain, shut))
        changed = np.abs(image - closed).sum(axis=2) > 30
        rows, columns = np.nonzero(changed)
        eyes = face_points(person, plain)[:2]
        nearest = [np.hypot(columns - x, rows - y).argmin() for x, y in eyes]
        assert all(np.hypot(columns[i] - x, rows[i] - y) < 3 for i, (x, y) in zip(nearest, eyes, strict=True))
        assert np.hypot(columns.mean() - eyes[:, 0].mean(), rows.mean() - eyes[:, 1].mean()) < 3
