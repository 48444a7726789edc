"""The quickstart of periocular recognition, with few people and one epoch."""

from dataclasses import replace

import onnx
import pytest

from insightface_cakd.quickstart import periocular
from tests.commands import cakd, refused

JOB = """
from insightface_cakd.hosts.embedded.configs import faces_ckd_tiny as job

config = dict(job.config, batch_size=8, num_epoch=1, warmup_epoch=0, num_workers=0, embedding_size=32, frequent=1, device="cpu")
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Make the quickstart small; return an empty folder to work in."""
    (tmp_path / "job.py").write_text(JOB)
    stages = tuple(replace(stage, config=str(tmp_path / "job.py")) for stage in periocular.STAGES)
    for name, stage in zip(("ALONE", "SHARED", "CONSISTENT"), stages, strict=True):
        monkeypatch.setattr(periocular, name, stage)
    monkeypatch.setattr(periocular, "STAGES", stages)
    for name, value in {"PEOPLE": 6, "PICTURES": 4, "PAIRS": 20, "EPOCHS": 1}.items():
        monkeypatch.setattr(periocular, name, value)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.slow
def test_it_ends_with_a_table_a_strip_network_and_a_report(small):
    ran = cakd("quickstart", "--task", "periocular", "--output", "work", "--seed", 7)
    assert ran.code == 0, ran.err
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in ran.out.splitlines() if "|" in line]
    assert table[0] == ["model", "by strip", "by face", "strip against face"]
    rows = {cells[0]: cells[1:] for cells in table[2:]}
    assert set(rows) == {"strip alone", "strip + face without consistency", "CKD"}
    assert rows["strip alone"][1:] == ["-", "-"]
    assert all("EER" in cell for cell in rows["CKD"])
    graph = onnx.load("work/strip.onnx").graph
    assert [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim[1:]] == [3, 112, 112]
    assert not any("tails.face" in weight.name for weight in graph.initializer)
    page = (small / "work" / "report.html").read_text()
    assert "strip against face" in page
    assert "Recipe of CKD" in page


def test_faces_of_your_own_are_refused(small):
    refused(["quickstart", "--task", "periocular", "--data", "."], r"--data: given with --task periocular", small)
