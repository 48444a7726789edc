"""The margin anchor of the prompts: cross-entropy of margin logits, whole or in shards."""

import math

import numpy as np
import pytest
import torch

from insightface_cakd.distill.gather import ShardedClasses
from insightface_cakd.errors import ShapeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.prompts import PromptMarginLoss
from insightface_cakd.runtime.ranks import rank
from tests.ranks import run_ranks

BOUNDS = (0, 3, 4, 7)


def oracle(logits, columns):
    total = 0.0
    for row, column in zip(np.asarray(logits, dtype=np.float64), columns, strict=True):
        total += math.log(sum(math.exp(z - row.max()) for z in row)) + row.max() - row[column]
    return total / len(columns)


def batch(rows=6, classes=7, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (rows, 1), generator=generator)


@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_equals_its_oracle(scale):
    logits, columns = batch(scale=scale)
    assert float(PromptMarginLoss()(logits, columns)) == pytest.approx(oracle(logits, columns.view(-1)), rel=1e-12)


def test_has_the_value_worked_out_by_hand():
    logits = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64)
    assert float(PromptMarginLoss()(logits, torch.tensor([[0]]))) == pytest.approx(math.log(4), rel=1e-12)
    assert float(PromptMarginLoss()(logits, torch.tensor([[1]]))) == pytest.approx(math.log(4 / 3), rel=1e-12)


def test_gradient_is_that_of_finite_differences():
    logits, columns = batch(4, 3)
    assert torch.autograd.gradcheck(lambda z: PromptMarginLoss()(z, columns), logits.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_a_float32_loss(dtype):
    logits, columns = batch(scale=20.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = PromptMarginLoss()(logits.to(dtype), columns)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(oracle(logits, columns.view(-1)), rel=1e-2)


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extreme_logits_stay_finite(scale):
    logits, columns = batch(scale=scale)
    logits = logits.float().requires_grad_()
    loss = PromptMarginLoss()(logits, columns)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_no_image_gives_a_differentiable_0():
    logits = torch.zeros(0, 4, requires_grad=True)
    loss = PromptMarginLoss()(logits, torch.zeros(0, 1, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0


def test_columns_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"columns \(6,\) for logits \(6, 7\); expected \(6, 1\)"):
        PromptMarginLoss()(batch()[0], batch()[1].view(-1))


def shard():
    """Value, and gradient of this rank's classes."""
    logits, columns = batch()
    first, last = BOUNDS[rank()], BOUNDS[rank() + 1]
    mine = logits[:, first:last].clone().requires_grad_()
    local = torch.where((columns >= first) & (columns < last), columns - first, -1)
    loss = PromptMarginLoss()(mine, local, None, ShardedClasses())
    loss.backward()
    return float(loss.detach()), mine.grad


@pytest.mark.slow
def test_shards_of_unequal_size_give_the_whole_value_and_each_its_own_gradient():
    logits, columns = batch()
    loss = PromptMarginLoss()(logits.requires_grad_(), columns)
    loss.backward()
    results = run_ranks(shard, 3)
    assert all(value == pytest.approx(float(loss), rel=1e-12) for value, _ in results)
    torch.testing.assert_close(torch.cat([gradient for _, gradient in results], dim=1), logits.grad)


def test_is_documented_and_registered():
    kind = LOSSES["prompt_margin"]
    assert kind.paper
    for section in ("Shape:", "Units:", "Edge cases:", "Source:"):
        assert section in kind.__doc__
