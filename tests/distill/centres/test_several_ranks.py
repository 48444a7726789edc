"""Over two and three ranks, each with classes of its own: what one process does, duplicates and sampled heads included."""

import pytest
import torch

from insightface_cakd.runtime.ranks import rank, world_size
from tests.distill.centres.small import CLASSES, HEADS, toy_run, toy_steps
from tests.ranks import RANKS, run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.toy import toy_batch

# With 0 a step uses the classes of its own images only, whatever the number of ranks.
RATES = (1.0, 0.0)


def one_update(folder):
    """Return how a head's centres moved in one forward, in which it sampled some of the other classes."""
    student, head, _ = toy_run("average", folder, 0.6)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    before = head.weight.clone()
    loss = head(student(images), labels)
    return head.weight.detach() - before, bool(torch.isfinite(loss)), len(head.weight_index) < head.num_local


def everything(folder):
    runs = {(kind, rate): toy_steps(kind, folder, rate) for kind in HEADS for rate in RATES}
    return runs, one_update(folder)


@pytest.mark.parametrize("world", RANKS)
def test_losses_gradients_and_centres_equal_one_process(world, tmp_path):
    labels = toy_batch(CLASSES)[1]
    assert len(labels.unique()) < len(labels), "the batch has several images of one class"
    expected, (moved, *_) = everything(tmp_path)
    results = run_ranks(everything, world, tmp_path)
    for key, (losses, logged, gradients, rows) in expected.items():
        for found, _ in results:
            assert found[key][0] == pytest.approx(losses, rel=1e-5), key
            for ours, theirs in zip(found[key][1], logged, strict=True):
                assert ours == pytest.approx(theirs, rel=1e-5), key
            for name, gradient in gradients.items():
                assert_equal_up_to_rounding(found[key][2][name], gradient, f"{key} {name}")
        joined = torch.cat([found[key][3] for found, _ in results])
        assert_equal_up_to_rounding(joined, rows, str(key))
    sampled = [update for _, update in results]
    assert_equal_up_to_rounding(torch.cat([rows for rows, *_ in sampled]), moved, "centres of sampled heads")
    assert all(finite for _, finite, _ in sampled)
    assert any(chosen for *_, chosen in sampled)
