"""Predicted against measured: one row by hand, and the whole table in small."""

import pytest
import torch

from benchmarks import predicted as module
from benchmarks.predicted import row
from insightface_cakd.experiments.cost.counts.operations import Operation
from insightface_cakd.experiments.cost.counts.prediction import Counts
from insightface_cakd.experiments.cost.steps import ALONE, DISTILLATION, FORWARD
from tests.commands import benchmark

MIB = 2**20


class Steady:
    """A CPU on which each operator takes 10 ms."""

    def seconds(self, operation, ranks):
        return 0.01

    def assumptions(self):
        return "steady"


def test_a_row_compares_ratio_time_and_memory():
    one = Operation("student", False, "add", "other", torch.float32)
    found = Counts(
        {ALONE: [one, one], FORWARD: [one], DISTILLATION: [one] * 4},
        {"weights": MIB, "gradients": MIB, "activations": 2 * MIB},
    )
    measured = [{ALONE: 0.01, FORWARD: 0.01, DISTILLATION: taken} for taken in (0.02, 0.05, 0.03)]
    assert list(row("a step", found, Steady(), measured, 4 * MIB).values()) == [
        "a step", "1.333", "1.500", "-11.1%", "40.0", "30.0", "+33.3%", "3.0", "4.0",
    ]  # fmt: skip


def test_the_command_measures_each_step(monkeypatch):
    monkeypatch.setattr(module, "STEPS", (("cosine", "cnn_tiny", 2),))
    monkeypatch.setattr(module, "fitted_cpu", Steady)
    ran = benchmark("predicted", "--repeats", 1)
    assert ran.code == 0, ran.err
    (line,) = [line for line in ran.out.splitlines() if line.startswith("| cosine, cnn_tiny, 2 ")]
    counted, measured = (float(cell) for cell in line.strip("|").split("|")[-2:])
    assert counted == pytest.approx(measured, rel=0.02)
