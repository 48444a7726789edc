"""The quickstart of low resolution, with few people and one epoch."""

import re
from dataclasses import replace

import onnx
import pytest

from insightface_cakd.quickstart import lowres
from tests.commands import cakd

JOB = """
from insightface_cakd.hosts.embedded.configs import {name} as job

config = dict(job.config, batch_size=8, num_epoch=1, warmup_epoch=0, num_workers=0, embedding_size=32, frequent=1, device="cpu")
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Make the quickstart small; return an empty folder to work in."""
    stages = []
    for stage in lowres.STAGES:
        job = tmp_path / f"{stage.config}.py"
        job.write_text(JOB.format(name=stage.config))
        stages.append(replace(stage, config=str(job)))
    for name, stage in zip(("TEACHER", "ALONE", "COSINE", "AIRD"), stages, strict=True):
        monkeypatch.setattr(lowres, name, stage)
    monkeypatch.setattr(lowres, "STAGES", tuple(stages))
    for name, value in {"PEOPLE": 6, "PICTURES": 4, "PAIRS": 20, "EPOCHS": 1, "SIZES": (112, 14)}.items():
        monkeypatch.setattr(lowres, name, value)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.slow
def test_it_ends_with_a_table_of_sizes_a_model_and_a_report(small):
    ran = cakd("quickstart", "--task", "lowres", "--output", "work", "--seed", 7)
    assert ran.code == 0, ran.err
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in ran.out.splitlines() if "|" in line]
    assert table[0] == ["model", "112 px", "14 px"]
    titles = [stage.title for stage in lowres.STAGES[1:]]
    assert [cells[0] for cells in table[2:]] == [name for one in titles for name in (one, f"{one}, FaceBN 0.5")]
    assert all(re.fullmatch(r"\d+\.\d\d %", cell) for cells in table[2:] for cell in cells[1:])
    onnx.checker.check_model(onnx.load("work/student.onnx"))
    page = (small / "work" / "report.html").read_text()
    assert "lowres:14" in page
    assert "FaceBN (AIRD-style)" in page
