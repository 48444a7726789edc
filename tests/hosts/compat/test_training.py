"""What goes wrong in a run of arcface_torch whatever the versions: hanging loaders, fixed ports, and what changes results."""

import itertools
import os
import queue
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from insightface_cakd.errors import DataError
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.compat import FIXES, applied
from insightface_cakd.hosts.compat.results import FIRST_STEP_LR, MEAN_BATCH_NORM, MEAN_GRADIENT, OWN_CENTRES
from insightface_cakd.hosts.compat.training import FREE_PORT, LOADER_ERRORS
from insightface_cakd.hosts.embedded.lr_scheduler import PolynomialLRWarmup
from tests.ranks import run_ranks


class Prefetch(threading.Thread):
    """Takes from a generator in a thread, as arcface_torch's `BackgroundGenerator` does, and dies of an exception."""

    def __init__(self, generator):
        super().__init__(daemon=True)
        self.queue = queue.Queue(6)
        self.generator = generator
        self.start()

    def run(self):
        for item in itertools.chain(self.generator, [None]):
            self.queue.put(item)

    def next(self):
        item = self.queue.get(timeout=20)
        if item is None:
            raise StopIteration
        return item

    def __next__(self):
        return self.next()

    def __iter__(self):
        return self


class Broken(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 3:
            raise DataError("train.rec: record 3 at offset 9: no image: not a JPEG")
        return index


@pytest.fixture
def prefetch(monkeypatch):
    """Return a host module's prefetch thread with the fix in it."""
    module = ModuleType("dataset")
    module.BackgroundGenerator = type("BackgroundGenerator", (Prefetch,), dict(vars(Prefetch)))
    monkeypatch.setitem(sys.modules, "dataset", module)
    with applied([LOADER_ERRORS]):
        yield module.BackgroundGenerator


class TestLoaderErrors:
    """An exception in the prefetch thread reaches the training loop."""

    def test_what_came_before_it_arrives_first(self, prefetch):
        def numbers():
            yield 1
            yield 2
            raise KeyError("gone")

        batches = prefetch(numbers())
        assert [next(batches), next(batches)] == [1, 2]
        with pytest.raises(KeyError, match="gone"):
            next(batches)

    def test_a_loader_that_ends_well_is_not_changed(self, prefetch):
        assert list(prefetch(iter([1, 2, 3]))) == [1, 2, 3]

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_users_mistake_in_a_worker_is_one_line(self, prefetch, workers):
        batches = prefetch(iter(DataLoader(Broken(), batch_size=2, num_workers=workers)))
        assert next(batches).tolist() == [0, 1]
        with pytest.raises(DataError) as raised:
            next(batches)
        assert str(raised.value) == "train.rec: record 3 at offset 9: no image: not a JPEG"


class TestFreePort:
    """One process needs no port."""

    def test_two_runs_on_one_machine_do_not_collide(self, monkeypatch):
        monkeypatch.delenv("RANK", raising=False)
        taken = dist.TCPStore("127.0.0.1", 0, 1, True)
        with applied([FREE_PORT]):
            dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{taken.port}", rank=0, world_size=1)
            dist.destroy_process_group()

    def test_it_does_not_apply_under_torchrun(self, monkeypatch):
        monkeypatch.setenv("RANK", "0")
        with applied([FREE_PORT]) as chosen:
            assert chosen == []


def test_only_what_changes_results_is_off_by_itself():
    assert {fix.name for fix in FIXES if fix.changes_results} == {
        "first-step-lr",
        "mean-gradient",
        "own-centres",
        "mean-batch-norm",
    }


class TestMeanGradient:
    """Gradient accumulation gives the mean, not the sum."""

    @pytest.mark.parametrize(("micro_steps", "expected"), [(1, 6.0), (2, 3.0), (3, 2.0)])
    def test_every_backward_pass_counts_one_of_gradient_acc(self, micro_steps, expected, monkeypatch):
        base = ModuleType("configs.base")
        base.config = {"gradient_acc": micro_steps}
        monkeypatch.setitem(sys.modules, "configs.base", base)
        weight = torch.ones((), requires_grad=True)
        with applied([MEAN_GRADIENT], wanted=["mean-gradient"]):
            (6 * weight).backward()
        assert weight.grad.item() == pytest.approx(expected)
        weight.grad = None
        (6 * weight).backward()
        assert weight.grad.item() == 6

    def test_a_gradient_that_is_given_is_kept(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "configs.base", SimpleNamespace(config={"gradient_acc": 2}))
        weight = torch.ones(2, requires_grad=True)
        with applied([MEAN_GRADIENT], wanted=["mean-gradient"]):
            (6 * weight).backward(torch.ones(2))
        assert weight.grad.tolist() == [6, 6]


def rates(scheduler_class, steps, **arguments):
    """Return the learning rate that each step uses."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = scheduler_class(optimizer, **arguments)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == used[-1:]
        optimizer.step()
        scheduler.step()
    return used


@pytest.mark.upstream
class TestFirstStepLR:
    """The schedule of the checkout, as it is and mended."""

    @pytest.mark.parametrize("warmup", [0, 1, 4])
    def test_mended_it_is_the_embedded_hosts(self, warmup, arcface_torch):
        checkout = find_checkout(arcface_torch)
        with checkout.imported(), applied(FIXES, wanted=["first-step-lr"]):
            scheduler = checkout.load("lr_scheduler").PolynomialLRWarmup
            mended = rates(scheduler, 10, warmup_iters=warmup, total_iters=10)
        assert mended == pytest.approx(rates(PolynomialLRWarmup, 10, warmup_iters=warmup, total_iters=10))
        assert mended[0] == pytest.approx(0.4 / (warmup + 1))

    def test_otherwise_its_first_step_is_at_the_full_rate(self, arcface_torch):
        checkout = find_checkout(arcface_torch)
        with checkout.imported(), applied(FIXES):
            scheduler = checkout.load("lr_scheduler").PolynomialLRWarmup
            used = rates(scheduler, 6, warmup_iters=4, total_iters=10)
        assert used == pytest.approx([0.4, 0.1, 0.2, 0.3, 0.4, 0.4 * 5 / 6])

    def test_a_resumed_schedule_goes_on_where_it_was(self, arcface_torch):
        checkout = find_checkout(arcface_torch)
        with checkout.imported(), applied(FIXES, wanted=["first-step-lr"]):
            scheduler = checkout.load("lr_scheduler").PolynomialLRWarmup
            first = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
            before = scheduler(first, warmup_iters=4, total_iters=10)
            first.step()
            before.step()
            second = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
            after = scheduler(second, warmup_iters=4, total_iters=10)
            second.load_state_dict(first.state_dict())
            after.load_state_dict(before.state_dict())
            second.step()
            after.step()
        assert FIRST_STEP_LR.changes_results
        assert second.param_groups[0]["lr"] == pytest.approx(0.4 * 3 / 5)


def centres_of_a_rank(folder):
    """Return the class centres that this rank draws without the fix, and with it."""
    os.environ["WORLD_SIZE"] = str(dist.get_world_size())
    checkout = find_checkout(folder)
    drawn = []
    for wanted in ([], ["own-centres"]):
        with checkout.imported(), applied([OWN_CENTRES], wanted=wanted):
            torch.manual_seed(5)
            drawn.append(checkout.load("partial_fc_v2").PartialFC_V2(nn.Identity(), 64, 40).weight.detach())
    return drawn


@pytest.mark.upstream
def test_own_centres(arcface_torch):
    (first_alike, first_own), (second_alike, second_own) = run_ranks(centres_of_a_rank, 2, str(arcface_torch))
    assert torch.equal(first_alike, second_alike)
    assert torch.equal(first_own, first_alike)
    assert not torch.equal(second_own, first_own)
    np.testing.assert_allclose(second_own.std(), 0.01, rtol=0.05)
    assert abs((first_own * second_own).sum() / first_own.norm() / second_own.norm()) < 0.1


def statistics_of_a_rank():
    """Train one step on data of this rank, then end the data and verify, with host modules like arcface_torch's."""
    os.environ["WORLD_SIZE"] = str(dist.get_world_size())
    loader = type("DataLoaderX", (), {"__iter__": lambda self: self, "__next__": lambda self: next(self.batches)})
    dataset, callbacks = ModuleType("dataset"), ModuleType("utils.utils_callbacks")
    seen = []
    callbacks.CallBackVerification = type(
        "CallBackVerification",
        (),
        {"__call__": lambda self, step, student: seen.append(student[0].running_mean.clone())},
    )
    dataset.DataLoaderX = loader
    sys.modules |= {"dataset": dataset, "utils.utils_callbacks": callbacks}
    with applied([MEAN_BATCH_NORM], wanted=["mean-batch-norm"]):
        student = nn.Sequential(nn.BatchNorm1d(1, momentum=1.0))
        wrapped = DistributedDataParallel(student, broadcast_buffers=False)
        batches = loader()
        batches.batches = iter([torch.full((2, 1), 1.0 + dist.get_rank())])
        means = []
        for batch in batches:
            wrapped(batch)
            means.append(student[0].running_mean.item())
        means.append(student[0].running_mean.item())
        wrapped(torch.full((2, 1), 10.0 * dist.get_rank()))
        callbacks.CallBackVerification()(1, student)
        return means, seen[0].item(), int(student[0].num_batches_tracked)


def test_mean_batch_norm_before_verification_and_at_the_end_of_the_data():
    assert run_ranks(statistics_of_a_rank, 2) == [([1.0, 1.5], 5.0, 2), ([2.0, 1.5], 5.0, 2)]
