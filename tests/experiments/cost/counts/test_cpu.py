"""Rates of this CPU, fitted to operators whose time is given."""

import numpy as np
import pytest
import torch

from insightface_cakd.experiments.cost.counts import cpu as module
from insightface_cakd.experiments.cost.counts.cpu import CPU, _fitted
from insightface_cakd.experiments.cost.counts.operations import Operation

CALLS = [(1e9, 1e6), (2e9, 1e7), (5e8, 5e7), (1e8, 1e8)]


@pytest.mark.parametrize(("per_flop", "per_byte"), [(1e-11, 1e-10), (1e-11, 0.0), (0.0, 1e-10)])
def test_the_fit_finds_the_rates_that_made_the_times(per_flop, per_byte):
    works = np.array([(flops, moved, flops * per_flop + moved * per_byte) for flops, moved in CALLS])
    assert _fitted(works) == (pytest.approx(per_flop, abs=1e-15), pytest.approx(per_byte, abs=1e-15))


def test_no_rate_is_negative():
    """Of two calls with as many FLOPs the one with more bytes is quicker."""
    found = _fitted(np.array([(1e9, 1e6, 0.02), (1e9, 9e7, 0.01)]))
    assert min(found) == 0 < max(found)


@pytest.fixture
def timed(monkeypatch):
    """Give times by hand: a start takes 1 ms, a byte 1 us in `add` and 3 us in `exp`; all together twice as long."""

    def operation(name, moved):
        return Operation("student", False, name, "other", torch.float32, moved=moved)

    small = [(operation("add", 0), 1e-3)] * 20
    large = [
        (operation(name, moved), 1e-3 + moved * each)
        for name, each in (("add", 1e-6), ("exp", 3e-6))
        for moved in (1e5, 2e5)
    ]
    monkeypatch.setattr(
        module, "_timed", lambda run, _: (small + large, 2 * sum(seconds for _, seconds in small + large))
    )
    return operation


def test_an_operator_takes_its_start_and_its_work_times_the_factor(timed):
    cpu = CPU([lambda: None])
    assert cpu.factor == pytest.approx(2)
    assert cpu.seconds(timed("add", 1e6), 1) == pytest.approx(2 * (1e-3 + 1))
    assert cpu.seconds(timed("exp", 1e6), 1) == pytest.approx(2 * (1e-3 + 3))


def test_one_that_was_not_met_takes_as_long_as_those_of_its_kind(timed):
    taken = CPU([lambda: None]).seconds(timed("sin", 1e6), 1)
    assert 2 * (1e-3 + 1) < taken < 2 * (1e-3 + 3)


def test_real_operators_are_fitted_and_told():
    rows = torch.ones(300, 300)
    cpu = CPU([lambda: (rows @ rows).exp()], repetitions=3)
    assert {"mm, matrices", "exp, other", "matrices", "other"} <= set(cpu.rates)
    assert (
        cpu.seconds(
            Operation("student", False, "mm", "matrices", torch.float32, flops=2 * 300**3, moved=12 * 300**2), 1
        )
        > 0
    )
    assert "GFLOP/s of matrices" in cpu.assumptions()
