"""`python -m benchmarks gpu`, in small and on the CPU: equal steps in the given time, one page."""

import json
import re

import pytest
import torch

from benchmarks.on_gpu import Plan, on_gpu
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.counts.prediction import Job, count
from insightface_cakd.experiments.cost.counts.rates import GPUS
from insightface_cakd.experiments.cost.steps import DISTILLATION, HeadSize
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe
from tests.commands import benchmark


@pytest.fixture
def teacher(tmp_path):
    torch.save(get_model("vit_tiny").eval().state_dict(), tmp_path / "teacher.pt")
    return str(tmp_path / "teacher.pt")


@pytest.mark.slow
def test_it_ends_on_a_cpu_with_a_page_of_steps_and_of_equally_long_runs(face_set, teacher, tmp_path):
    words = ["--teacher", teacher, "--output", tmp_path / "out", "--minutes", 0.5, "--recipes", "cosine,urfm"]
    ran = benchmark("gpu", face_set, "--device", "cpu", "--tiny", *words)
    assert ran.code == 0, ran.err
    page = (tmp_path / "out" / "on_gpu.md").read_text()
    assert page.strip() in ran.out
    for said in ("## cnn_tiny", "| urfm", "On `dev`, 20 pairs", "torch 2", "Milliseconds of a step"):
        assert said in page
    # urfm reads its teacher's tokens, which a compiled one does not show.
    steps = re.findall(r"^\| cnn_tiny +\| +?(\w+) +\| +(\w.*?) +\|", page, re.MULTILINE)
    assert steps == [
        ("cosine", "fp32"),
        ("cosine", "bf16"),
        ("cosine", "bf16, teacher compiled"),
        ("urfm", "fp32"),
        ("urfm", "bf16"),
    ]
    results = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/2048/*/result.json")]
    assert len(results) == 3
    assert len({result["steps"] for result in results}) == 1
    configs = [json.loads(path.read_text())["config"] for path in (tmp_path / "out").glob("*/2048/*/run.json")]
    assert {config["precision"] for config in configs} == {"bf16"}


@pytest.mark.slow
def test_on_paper_the_defaults_are_predicted_as_by_cakd_cost_and_nothing_is_trained(face_set, teacher, tmp_path):
    ran = benchmark("gpu", face_set, "--fake", "h100", "--teacher", teacher, "--output", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out" / "on_gpu.md").read_text().strip() in ran.out
    counts = count(Job(load_recipe("cosine"), "mbf", 256, precision="bf16"), HeadSize())
    expected = 1000 * counts.seconds(GPUS["h100"], 1)[DISTILLATION]
    (row,) = re.findall(r"^\| mbf +\| +cosine +\| +bf16 .*", ran.out, re.MULTILINE)
    assert row.split("|")[5].strip() == f"{expected:.1f}"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["on_gpu.md"]


def test_no_epoch_in_the_time_is_refused_with_what_it_would_take(face_set, teacher, tmp_path):
    plan = Plan(face_set, ("dev",), teacher, ("cosine",), networks=("cnn_tiny",), seeds=(1,), batch=12, workers=0)
    with pytest.raises(RunError, match="expected at least one epoch of batch 12 in 0"):
        on_gpu(tmp_path / "out", Plan(**{**vars(plan), "minutes": 0.0}))
    assert not (tmp_path / "out").exists()
