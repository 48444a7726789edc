"""The schedule is a closed form of the iteration."""

import pytest
import torch

from insightface_cakd.hosts.embedded.lr_scheduler import PolynomialLRWarmup


def rates(steps, **arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = PolynomialLRWarmup(optimizer, **arguments)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_the_first_step_does_not_use_the_full_rate():
    assert rates(4, warmup_iters=3, total_iters=10) == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_decays_to_0_and_stays_there():
    seen = rates(7, warmup_iters=1, total_iters=5, power=2.0)
    assert seen == pytest.approx([0.2, 0.4, 0.4 * (3 / 4) ** 2, 0.4 * (2 / 4) ** 2, 0.4 * (1 / 4) ** 2, 0, 0])


def test_a_change_of_the_total_is_not_carried_along():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = PolynomialLRWarmup(optimizer, 0, total_iters=10)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    scheduler.total_iters = 20
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.4 * 14 / 20)


def test_a_run_shorter_than_its_warm_up_is_warned_of():
    with pytest.warns(UserWarning, match="ends at step 3, before its warm-up of 5 steps"):
        rates(1, warmup_iters=5, total_iters=3)
