"""The sharded head: an exact softmax, whatever the ranks; each fault of arcface_torch's head by name."""

import sys

import pytest
import torch
from torch.nn.functional import cross_entropy, linear, normalize, one_hot

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.runtime.ranks import rank, world_size
from tests.ranks import QUICK_RANKS, run_ranks
from tests.rounding import assert_equal_up_to_rounding

CLASSES, WIDTH, BATCH = 11, 6, 12


def rows():
    return torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(3))


def batch():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(BATCH, WIDTH, generator=generator), torch.randint(0, CLASSES, (BATCH,), generator=generator)


def head(rate=1.0, kind=PartialFC_V2):
    torch.manual_seed(0)
    module = kind(CombinedMarginLoss(64, 1.0, 0.0, 0.4), WIDTH, CLASSES, rate, False)
    module.weight.data.copy_(rows()[module.class_start : module.class_start + module.num_local])
    return module


def dense():
    """Return loss and gradients of a plain softmax over all classes."""
    embeddings, labels = batch()
    weight = rows().requires_grad_()
    embeddings.requires_grad_()
    cosines = linear(normalize(embeddings), normalize(weight))
    loss = cross_entropy(64 * (cosines - 0.4 * one_hot(labels, CLASSES)), labels)
    loss.backward()
    return loss.detach(), embeddings.grad, weight.grad


def on_this_rank(rate=1.0):
    embeddings, labels = (part.chunk(world_size())[rank()].clone() for part in batch())
    embeddings.requires_grad_()
    module = head(rate)
    loss = module(embeddings, labels)
    loss.backward()
    return loss.detach(), embeddings.grad, module.weight.grad


def test_one_process_needs_no_process_group_and_equals_a_plain_softmax():
    for ours, expected in zip(on_this_rank(), dense(), strict=True):
        assert_equal_up_to_rounding(ours, expected, "one process")


@pytest.mark.parametrize("world", QUICK_RANKS)
def test_shards_equal_a_plain_softmax_with_gradients_times_the_ranks_for_ddps_average(world):
    loss, embeddings, weight = dense()
    results = run_ranks(on_this_rank, world)
    for ours, _, _ in results:
        torch.testing.assert_close(ours, loss, rtol=1e-5, atol=1e-6)
    assert_equal_up_to_rounding(torch.cat([grad for _, grad, _ in results]), embeddings * world, "embeddings")
    assert_equal_up_to_rounding(torch.cat([grad for _, _, grad in results]), weight, "class centres")


def test_sampling_keeps_every_positive_and_moves_no_other_row():
    torch.manual_seed(1)
    module = head(0.3)
    embeddings, labels = batch()
    module(embeddings, labels).backward()
    assert set(labels.unique().tolist()) <= set(module.weight_index.tolist())
    untouched = torch.ones(CLASSES, dtype=torch.bool)
    untouched[module.weight_index] = False
    assert module.weight.grad[untouched].abs().max() == 0 if untouched.any() else True


def few_positives():
    """Labels of the first rank's classes only, with sample_rate 0."""
    torch.manual_seed(1)
    module = head(0.0)
    loss = module(batch()[0].chunk(world_size())[rank()], torch.zeros(BATCH // world_size(), dtype=torch.int64))
    loss.backward()
    return loss.detach(), len(module.weight_index)


def test_a_sampled_head_on_a_rank_without_positives_keeps_one_row():
    results = run_ranks(few_positives, 2)
    assert all(torch.isfinite(loss) for loss, _ in results)
    assert [count for _, count in results] == [1, 1]


def initial_rows():
    torch.manual_seed(5)
    return PartialFC_V2(CombinedMarginLoss(64, 1.0, 0.5, 0.0), WIDTH, CLASSES).weight.detach()


def test_class_centres_differ_between_ranks_and_do_not_depend_on_their_number():
    shards = run_ranks(initial_rows, 2)
    assert not torch.equal(shards[0][:5], shards[1][:5])
    assert torch.equal(torch.cat(shards), initial_rows())


def test_a_batch_of_one_and_a_last_batch_of_another_size_are_taken():
    module = head()
    embeddings, labels = batch()
    assert torch.isfinite(module(embeddings[:1], labels[:1]))
    assert torch.isfinite(module(embeddings[:5], labels[:5]))


def test_the_callers_labels_are_left_as_they_are():
    embeddings, labels = batch()
    column = labels.view(-1, 1)
    head()(embeddings, column)
    assert column.shape == (BATCH, 1)


def test_half_precision_embeddings_are_taken():
    embeddings, labels = batch()
    assert head()(embeddings.half(), labels).dtype == torch.float32


def too_few():
    try:
        PartialFC_V2(CombinedMarginLoss(64, 1.0, 0.5, 0.0), WIDTH, 1)
    except RunError as error:
        return str(error)
    return ""


def test_fewer_classes_than_ranks_is_an_error_on_every_rank():
    messages = run_ranks(too_few, 2)
    assert all("num_classes is 1 on 2 ranks; expected at least one class per rank" in message for message in messages)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_sample_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(RunError, match="expected a share in"):
        PartialFC_V2(CombinedMarginLoss(64, 1.0, 0.5, 0.0), WIDTH, CLASSES, rate)


MARGINS = {"ArcFace": (1.0, 0.5, 0.0), "CosFace": (1.0, 0.0, 0.4)}


def run_head(module):
    """Return loss, gradients and sampled rows of one step on this rank's share of the batch."""
    module.weight.data.copy_(rows()[module.class_start : module.class_start + module.num_local])
    embeddings, labels = (part.chunk(world_size())[rank()].clone() for part in batch())
    embeddings.requires_grad_()
    torch.manual_seed(7 + rank())
    loss = module(embeddings, labels)
    loss.backward()
    sampled = module.weight_index if module.sample_rate < 1 else torch.arange(module.num_local)
    return loss.detach(), embeddings.grad, module.weight.grad, sampled


def ours_and_theirs(checkout):
    """Return what both heads give for every margin and sample rate.

    arcface_torch's .cuda() is made to stay on the CPU. The scale keeps every loss below 69, where arcface_torch's has its ceiling.
    """
    sys.path.insert(0, checkout)
    torch.Tensor.cuda = lambda self: self
    from losses import CombinedMarginLoss as TheirMargin
    from partial_fc_v2 import PartialFC_V2 as TheirHead

    heads = ((PartialFC_V2, CombinedMarginLoss), (TheirHead, TheirMargin))
    return {
        (margin, rate): [
            run_head(kind(loss(16, *MARGINS[margin]), WIDTH, CLASSES, rate, False)) for kind, loss in heads
        ]
        for margin in MARGINS
        for rate in (1.0, 0.6)
    }


@pytest.mark.upstream
@pytest.mark.parametrize("world", [1, 2])
def test_equals_arcface_torchs_head_the_sampled_rows_included(world, arcface_torch):
    for results in run_ranks(ours_and_theirs, world, str(arcface_torch)):
        for case, (ours, theirs) in results.items():
            for a, b in zip(ours, theirs, strict=True):
                assert_equal_up_to_rounding(a, b, str(case))
