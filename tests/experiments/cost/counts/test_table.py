"""`cakd cost`: one table, its assumptions, and all numbers as JSON."""

import json
import re

import pytest

from insightface_cakd.experiments.cost.counts import table as module
from tests.commands import cakd

TINY = ["--network", "cnn_tiny", "--batch-size", 4, "--classes", 1000]


def cells(text):
    """Return the table's cells by row."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {kind: values for kind, *values in rows}


def test_the_command_prints_assumptions_and_a_column_for_each_size(tmp_path):
    sizes = ["--sample-rate", 1, "--sample-rate", 0.5]
    ran = cakd(
        "cost", "--hardware", "a100", *TINY, *sizes, "--distill", "cakd", "--ranks", 2, "--json", tmp_path / "cost.json"
    )
    assert ran.code == 0, ran.err
    first, second = ran.out.split("\n\n")[:2]
    assert first.startswith("student cnn_tiny, teacher vit_tiny, recipe cakd, bf16, batch 4 on each of 2 ranks, torch ")
    assert first.endswith("; predicted from counts, not measured")
    assert second.startswith("a100: 312 TFLOP/s in half precision")
    said = cells(ran.out)
    assert said["classes x used"] == ["1,000 x 1", "1,000 x 0.5"]
    facts = json.loads((tmp_path / "cost.json").read_text())
    assert facts["assumptions"] == second
    for column, size in enumerate(facts["sizes"]):
        assert said["GFLOPs an image: student forward"][column] == f"{size['flops']['student']['forward'] / 4e9:.2f}"
        assert said["GFLOPs an image: head"][column] == f"{sum(size['flops']['head'].values()) / 4e9:.2f}"
        assert said["MiB sent: head"][column] == f"{size['sent']['head'] / 2**20:.1f}"
        assert said["GiB: peak"][column] == f"{size['memory']['peak'] / 2**30:.2f}"
        assert said["ms: distillation step"][column] == f"{1000 * size['seconds']['distillation step']:.1f}"
        assert said["step / floor"][column] == f"{size['ratios']['floor']:.3f}"
        assert size["memory"]["peak"] == sum(value for kind, value in size["memory"].items() if kind != "peak")
        assert size["fits"]
    assert "step / (floor + plain embeddings for anchors)" in said


def test_what_does_not_fit_is_marked():
    ran = cakd("cost", "--hardware", "h100", "--network", "cnn_tiny", "--classes", 50_000_000, "--sample-rate", 1)
    (peak,) = cells(ran.out)["GiB: peak"]
    assert re.fullmatch(r"[\d.]+ \(too much\)", peak)


def test_this_machine_is_fitted_first(monkeypatch):
    class Steady:
        """A CPU on which each operator takes a second."""

        memory = 1e12

        def assumptions(self):
            return "steady"

        def seconds(self, operation, ranks):
            return 1.0

    monkeypatch.setattr(module, "fitted_cpu", Steady)
    ran = cakd("cost", "--hardware", "cpu", *TINY, "--training-precision", "fp32", "--sample-rate", 1)
    assert ran.out.split("\n\n")[1] == "steady"
    assert float(cells(ran.out)["ms: teacher forward"][0]) > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hardware", "v100"], "--hardware v100: is not a known device; known: h100, a100, cpu."),
        (
            ["--hardware", "cpu", "--ranks", 2],
            "--hardware cpu: 2 ranks, and what CPUs send to each other is not predicted; expected 1. Leave --ranks out.",
        ),
    ],
)
def test_a_device_that_cannot_be_predicted(arguments, message):
    ran = cakd("cost", *TINY, *arguments)
    assert ran.code == 1
    assert ran.err == f"cakd: error: {message}\n"
