"""The learning rate of every step, in whole runs: the checkout's own, mended, and the embedded host's."""

import pytest

from tests.hosts.both_hosts import SharedJob, double_precision, on_checkout, on_embedded

pytestmark = pytest.mark.upstream
# Two epochs of two steps, the first of them to warm up.
CHANGES = {"num_epoch": 2, "warmup_epoch": 1, "lr": 0.03}


def test_the_checkouts_first_step_is_at_the_full_rate(folder, arcface_torch, face_set):
    job = SharedJob(face_set, folder / "out", steps=2, changes=CHANGES)
    assert on_checkout(job, arcface_torch).rates == pytest.approx([0.03, 0.015, 0.03, 0.015])


def test_mended_it_is_the_embedded_hosts_sequence(folder, arcface_torch, face_set):
    mended = SharedJob(face_set, folder / "mended", steps=2, fixes=("first-step-lr",), changes=CHANGES)
    # In float64, since the embedded host's convolutions round otherwise.
    with double_precision():
        theirs = on_checkout(mended, arcface_torch)
        ours = on_embedded(SharedJob(face_set, folder / "embedded", steps=2, changes=CHANGES))
    assert theirs.rates == pytest.approx([0.01, 0.02, 0.03, 0.015])
    assert ours.rates == pytest.approx(theirs.rates, rel=1e-12)
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-6)
