"""CAKD on either host, on one rank and on two: every pair of networks, accumulated gradients, and a run that goes on."""

import math

import pytest
import torch

from tests.hosts.cakd_jobs import PAIRS, on_ranks

HOSTS = ["embedded", pytest.param("checkout", marks=pytest.mark.upstream)]
RANKS = [1, pytest.param(2, marks=pytest.mark.slow)]


@pytest.fixture
def perform(folder, face_set, request):
    """Return what a function of cakd_jobs.py found on each rank of a host."""

    def run(what, host, ranks):
        checkout = request.getfixturevalue("arcface_torch") if host == "checkout" else None
        return on_ranks(ranks, what, host, face_set, checkout, folder)

    return run


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.slow
@pytest.mark.upstream
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_pair_trains_alike_on_both_hosts(ranks, perform):
    theirs, ours = perform("pairs", "checkout", ranks), perform("pairs", "embedded", ranks)
    for mine, other in zip(ours, theirs, strict=True):
        assert list(mine) == ["-".join(pair) for pair in PAIRS]
        for pair, losses in mine.items():
            assert len(losses) == 2
            assert all(math.isfinite(loss) for loss in losses)
            assert losses == pytest.approx(other[pair], rel=1e-4), pair


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("host", HOSTS)
def test_gradients_of_two_batches_are_joined_as_the_host_does_and_statistics_count_both(host, ranks, perform):
    """The embedded host takes their mean, arcface_torch their sum."""
    for found in perform("accumulation", host, ranks):
        assert [len(found[name]) for name in ("alone", "together")] == [2, 1]
        share = 0.5 if host == "embedded" else 1.0
        for first, second, joint in zip(*found["alone"], found["together"][0], strict=True):
            expected = share * (first + second)
            torch.testing.assert_close(joint, expected, rtol=1e-5, atol=1e-6 * max(1.0, float(expected.abs().max())))
        assert equal(found["alone.statistics"], found["together.statistics"])
        assert {int(value) for key, value in found["together.statistics"].items() if key.endswith("steps")} == {2}


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("host", HOSTS)
def test_a_run_stopped_and_resumed_ends_bit_for_bit_like_an_uninterrupted_one(host, ranks, perform):
    for found in perform("resumption", host, ranks):
        whole, stopped = found["whole"], found["stopped"]
        assert (stopped["epoch"], stopped["global_step"]) == (whole["epoch"], whole["global_step"]) == (2, 2)
        for part in ("state_dict_backbone", "state_dict_softmax_fc"):
            assert equal(whole[part], stopped[part])
        method = stopped["state_dict_softmax_fc"]
        assert {"cakd.prompts.sets.0", "cakd.urfm.scaled.teacher.moments", "cakd.urfm.readout.weight"} <= method.keys()
