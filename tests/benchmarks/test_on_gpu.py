"""`python -m benchmarks gpu`, in small and on the CPU: equal steps in the given time, one page."""

import json

import pytest
import torch

from benchmarks.on_gpu import Plan, on_gpu
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import benchmark


@pytest.fixture
def teacher(tmp_path):
    torch.save(get_model("vit_tiny").eval().state_dict(), tmp_path / "teacher.pt")
    return str(tmp_path / "teacher.pt")


def test_it_ends_with_a_page_of_equally_long_runs(face_set, teacher, tmp_path):
    options = {"recipes": "cosine,urfm", "networks": "cnn_tiny,cnn_small", "seeds": "1", "batch": 12, "workers": 0}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    ran = benchmark("gpu", face_set, "--teacher", teacher, "--output", tmp_path / "out", "--minutes", 0.5, *words)
    assert ran.code == 0, ran.err
    page = (tmp_path / "out" / "on_gpu.md").read_text()
    assert page.strip() in ran.out
    for said in ("## cnn_tiny", "## cnn_small", "| urfm", "On `dev`, 20 pairs", "torch 2", "Milliseconds of a step"):
        assert said in page
    results = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/1/*/result.json")]
    assert len(results) == 6
    assert len({result["steps"] for result in results}) == 1
    configs = [json.loads(path.read_text())["config"] for path in (tmp_path / "out").glob("*/1/*/run.json")]
    assert {config["precision"] for config in configs} == {"bf16"}


def test_no_epoch_in_the_time_is_refused_with_what_it_would_take(face_set, teacher, tmp_path):
    plan = Plan(face_set, ("dev",), teacher, ("cosine",), networks=("cnn_tiny",), seeds=(1,), batch=12, workers=0)
    with pytest.raises(RunError, match="expected at least one epoch of batch 12 in 0"):
        on_gpu(tmp_path / "out", Plan(**{**vars(plan), "minutes": 0.0}))
    assert not (tmp_path / "out").exists()
