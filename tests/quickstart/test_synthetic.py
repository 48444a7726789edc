"""The quickstart of generated faces in small: a teacher, three students, a table, an export and a report with faces."""

import re
from dataclasses import replace

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.quickstart import synthetic as quickstart
from insightface_cakd.runtime.run_folder import RunFolder
from tests.commands import cakd, refused

JOB = """
from insightface_cakd.hosts.embedded.configs import {name} as job

config = dict(job.config, batch_size=8, num_epoch=1, warmup_epoch=0, num_workers=0, embedding_size=64, frequent=1, device="cpu")
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Make the quickstart small: few people, one epoch."""

    def shrunk(stage):
        job = tmp_path / f"{stage.config}.py"
        job.write_text(JOB.format(name=stage.config))
        return replace(stage, config=str(job))

    monkeypatch.setattr(quickstart, "TEACHER", shrunk(quickstart.TEACHER))
    monkeypatch.setattr(quickstart, "STUDENTS", tuple(map(shrunk, quickstart.STUDENTS)))
    for name, value in {"PEOPLE": 6, "PICTURES": 4, "PAIRS": 20, "TEACHER_EPOCHS": 1, "STUDENT_EPOCHS": 1}.items():
        monkeypatch.setattr(quickstart, name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_it_ends_with_a_table_a_model_and_a_report_with_faces(small):
    ran = cakd("quickstart", "--task", "synthetic", "--output", "work", "--seed", 7)
    assert ran.code == 0, ran.err
    assert [line[:5] for line in ran.out.splitlines() if line.startswith("[") and line[2:4] == "/7"] == [
        f"[{step}/7]" for step in range(1, 8)
    ]
    rows = [line for line in ran.out.splitlines() if line.startswith("| ")][-4:]
    names = ["teacher", *(stage.title for stage in quickstart.STUDENTS)]
    assert [row.strip("| ").split("|")[0].strip() for row in rows] == names
    accuracies = [float(re.search(r"([\d.]+) %", row)[1]) for row in rows]
    runs = ["teacher", "lambda_0", "lambda_1", "real"]
    for name, said in zip(runs, accuracies, strict=True):
        assert RunFolder(small / "work" / name).result.accuracy["dev"] * 100 == pytest.approx(said, abs=0.006)
    options = [RunFolder(small / "work" / name).recipe["task"]["options"] for name in runs[1:]]
    assert [(one["resample"], one.get("real", 0)) for one in options] == [(0.0, 0), (1.0, 0), (1.0, 1.0)]
    report = (small / "work" / "report.html").read_text()
    for said in ("Hard and easy faces of lambda 1", "Similarity of student and teacher", "Speed of generator"):
        assert said in report, said
    assert report.count('src="data:image/png;base64,') == 1
    assert (small / "work" / "student.onnx").is_file()
    states = [torch.load(small / "work" / name / "model.pt", weights_only=True) for name in runs[1:]]
    for state in states:
        get_model("cnn_tiny", num_features=64).load_state_dict(state, strict=True)
    assert any(not torch.equal(value, states[1][key]) for key, value in states[0].items()), "lambda made a difference"


def test_a_folder_in_use_is_refused(small):
    (small / "work").mkdir()
    (small / "work" / "notes.txt").write_text("mine")
    refused(["quickstart", "--task", "synthetic", "--output", "work"], r"work: exists already", small)
