"""GKD: groups, parts and gradients; what shards, ties and empty groups can get wrong."""

from itertools import product

import numpy as np
import pytest
import torch

from insightface_cakd.distill.gather import ShardedClasses
from insightface_cakd.errors import RecipeError, ShapeError
from insightface_cakd.losses.classes import WHOLE_ROWS
from insightface_cakd.losses.gkd import GroupedLoss
from insightface_cakd.losses.kd import SoftTargetLoss
from insightface_cakd.runtime.ranks import rank
from tests import group_oracles
from tests.losses.cases import LOGITS
from tests.ranks import run_ranks

STUDENT, TEACHER = (torch.tensor(rows, dtype=torch.float64) for rows in LOGITS)
PARTS = ("primary", "binary", "secondary")
GROUPINGS = {
    "fixed": {"size": 5},
    "fixed, from few candidates": {"size": 2},
    "adaptive": {"step": 7},
    "adaptive, exact": {"step": 1},
    "per_sample": {},
    "per_sample, all": {"share": 1.0},
}
every_grouping = pytest.mark.parametrize("grouping", GROUPINGS)


def loss_of(grouping, **options):
    return GroupedLoss(grouping.split(",")[0], **GROUPINGS[grouping], **options)


def only(part, **options):
    """Return the loss with one part of weight 1."""
    return GroupedLoss(**{name: float(name == part) for name in PARTS}, **options)


def batch(rows=6, classes=40, seed=0, dtype=torch.float64, whole=False):
    """Return logits and columns; whole numbers among the logits make ties."""
    generator = torch.Generator().manual_seed(seed)
    pair = (4 * torch.randn(rows, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    student, teacher = ((z.round() if whole else z).to(dtype) for z in pair)
    return student, teacher, torch.randint(0, classes, (rows, 1), generator=generator)


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ((0, 3), (1.030350690, 0.478492290, 0.431094460, 8.721297807)),
        ((2, 3), (1.225876939, 0.299013173, 0.475208371, 10.106028682)),
    ],
    ids=["own classes among the largest", "own class forced in"],
)
def test_parts_and_their_sum_have_the_known_values(labels, values):
    columns = torch.tensor(labels)
    losses = [*(only(part, grouping="fixed", size=2) for part in PARTS), GroupedLoss("fixed", size=2)]
    assert [float(loss(STUDENT, TEACHER, columns)) for loss in losses] == pytest.approx(values, abs=5e-10)


def test_the_adaptive_size_of_the_known_example_is_3():
    loss = GroupedLoss("adaptive", step=1)
    loss(STUDENT, TEACHER, torch.tensor([0, 3]))
    assert float(loss.mean_size) == 3


@every_grouping
@pytest.mark.parametrize("whole", [False, True], ids=["distinct", "with ties"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_groups_and_value_equal_the_sorted_reference(grouping, whole, dtype, tolerance):
    for seed, (rows, classes) in enumerate([(6, 40), (1, 9), (3, 1), (8, 57), (2, 2)]):
        student, teacher, columns = batch(rows, classes, seed, dtype, whole)
        loss = loss_of(grouping)
        arrays = (student.double().numpy(), teacher.double().numpy(), columns.view(-1).numpy())
        value = float(loss(student, teacher, columns))
        expected = group_oracles.gkd(*arrays, loss.grouping, **GROUPINGS[grouping])
        assert value == pytest.approx(expected, rel=tolerance, abs=tolerance)
        groups = group_oracles.primary(arrays[0], arrays[2], loss.grouping, **GROUPINGS[grouping])
        inside = loss.primary_group(student, columns, WHOLE_ROWS).members(student, slice(0, classes))
        assert [set(row.nonzero().view(-1).tolist()) for row in inside] == groups
        assert float(loss.mean_size) == np.mean([len(members) for members in groups])


@every_grouping
def test_weighted_by_the_teachers_shares_the_parts_are_plain_soft_targets(grouping):
    """KL(p^T || p^S) = KL(b) + b^T_P KL(p_P) + b^T_P' KL(p_P'), sample by sample."""
    student, teacher, columns = batch()
    for row in range(len(student)):
        s, t, y = student[row : row + 1], teacher[row : row + 1], columns[row : row + 1]
        loss = loss_of(grouping)
        inside = loss.primary_group(s, y, WHOLE_ROWS).members(s, slice(0, s.shape[1]))
        share = float(((t / 4).softmax(1) * inside).sum())
        weighted = loss_of(grouping, primary=share, binary=1.0, secondary=max(1 - share, 0.0))
        assert float(weighted(s, t, y)) == pytest.approx(float(SoftTargetLoss()(s, t)), rel=1e-12)


@every_grouping
@pytest.mark.parametrize("weights", [(8, 1, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (3, 2, 5)])
def test_gradient_is_that_of_finite_differences(grouping, weights):
    student, teacher, columns = batch(4, 23)
    loss = loss_of(grouping, **dict(zip(PARTS, weights, strict=True)))
    assert torch.autograd.gradcheck(lambda z: loss(z, teacher, columns), student.requires_grad_())


def test_gradient_is_that_of_autograd_on_the_definition():
    student, teacher, columns = batch(5, 12, seed=3)
    student.requires_grad_()
    loss = GroupedLoss("fixed", size=4, secondary=0.5)
    (ours,) = torch.autograd.grad(7 * loss(student, teacher, columns), student)
    inside = loss.primary_group(student.detach(), columns, WHOLE_ROWS).members(student.detach(), slice(0, 12)).bool()

    def shares(z):
        p = (z / 4).softmax(1)
        return torch.stack([(p * inside).sum(1), (p * ~inside).sum(1)], dim=1)

    def within(z, mask):
        return (z / 4).masked_fill(~mask, -torch.inf).log_softmax(1).masked_fill(~mask, 0)

    def kl(theirs, ours):
        return (theirs.exp() * (theirs - ours)).sum(1)

    groups = [kl(within(teacher, mask), within(student, mask)) for mask in (inside, ~inside)]
    total = 16 * (8 * groups[0] + kl(shares(teacher).log(), shares(student).log()) + 0.5 * groups[1]).mean()
    (expected,) = torch.autograd.grad(7 * total, student)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("size", [5, 10_000])
def test_no_nan_when_the_primary_group_is_everything_but_plain_soft_targets(size):
    """The released code gives NaN here."""
    student, columns = STUDENT.clone().requires_grad_(), torch.tensor([0, 3])
    loss = GroupedLoss("fixed", size=size, primary=1, binary=1, secondary=1)(student, TEACHER, columns)
    loss.backward()
    assert float(loss) == pytest.approx(1.310118316, abs=5e-10)
    assert torch.isfinite(student.grad).all()


def test_a_group_of_the_own_class_alone_leaves_target_against_rest():
    student, teacher, columns = batch()
    assert float(only("primary", grouping="fixed", size=1)(student, teacher, columns)) == 0
    ours, theirs = ((z / 4).softmax(1).gather(1, columns) for z in (student, teacher))
    expected = theirs * (theirs / ours).log() + (1 - theirs) * ((1 - theirs) / (1 - ours)).log()
    value = float(only("binary", grouping="fixed", size=1)(student, teacher, columns))
    assert value == pytest.approx(16 * float(expected.mean()), rel=1e-12)


@every_grouping
def test_an_extreme_own_logit_stays_finite(grouping):
    """In the released code the other group's probability underflows and its logarithm is infinite."""
    for height, temperature in product([1e2, 1e4, -1e4], [0.25, 4.0]):
        student, teacher, columns = batch(classes=57, dtype=torch.float32)
        student.scatter_(1, columns, height).requires_grad_()
        loss = loss_of(grouping, secondary=1.0, temperature=temperature)(student, teacher, columns)
        loss.backward()
        assert torch.isfinite(loss), (height, temperature)
        assert torch.isfinite(student.grad).all(), (height, temperature)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_grouping
def test_half_precision_is_computed_in_float32(grouping, dtype):
    student, teacher, columns = batch(classes=300, dtype=dtype)
    student.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(grouping)(student, teacher, columns)
    loss.backward()
    expected = loss_of(grouping)(student.detach().float(), teacher.float(), columns)
    assert loss.dtype == torch.float32
    assert student.grad.dtype == dtype
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-6)


def test_large_matrices_go_in_chunks_and_give_the_same(monkeypatch):
    student, teacher, columns = batch(19, 50, whole=True)
    found = []
    for entries in (2**15, 19):
        monkeypatch.setattr("insightface_cakd.losses.blocks.CACHED", entries)
        z = student.clone().requires_grad_()
        for grouping in GROUPINGS:
            loss_of(grouping, secondary=0.3)(z, teacher, columns).backward()
        found.append(z.grad)
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-15)


def test_a_class_that_no_rank_has_is_not_forced_in():
    loss = GroupedLoss("fixed", size=2)
    inside = loss.primary_group(STUDENT, torch.full((2, 1), -1), WHOLE_ROWS).members(STUDENT, slice(0, 5))
    assert inside.tolist() == [[True, True, False, False, False], [False, False, True, True, False]]
    assert float(loss(STUDENT, TEACHER, torch.tensor([[-1], [3]]))) == pytest.approx(8.721297807, abs=5e-10)


BOUNDS = {1: (0, 41), 2: (0, 29, 41), 3: (0, 2, 23, 41), 4: (0, 11, 12, 30, 41)}


def sharded(bounds, whole):
    """Return value, mean size and this rank's columns of the gradient, by grouping."""
    student, teacher, columns = batch(7, 41, 5, whole=whole)
    first, last = bounds[rank()], bounds[rank() + 1]
    columns = torch.where((columns >= first) & (columns < last), columns - first, -1)
    found = {}
    for grouping in GROUPINGS:
        mine = student[:, first:last].clone().requires_grad_()
        loss = loss_of(grouping, secondary=0.7)
        value = loss(mine, teacher[:, first:last], columns, classes=ShardedClasses())
        value.backward()
        found[grouping] = (value.detach(), loss.mean_size, mine.grad)
    return found


@pytest.mark.parametrize("world", [pytest.param(n, marks=[pytest.mark.slow] if n > 2 else []) for n in BOUNDS])
@pytest.mark.parametrize("whole", [False, True], ids=["distinct", "with ties"])
def test_shards_of_unequal_size_give_the_dense_value_group_and_gradient(world, whole):
    results = run_ranks(sharded, world, BOUNDS[world], whole)
    student, teacher, columns = batch(7, 41, 5, whole=whole)
    for grouping in GROUPINGS:
        dense = student.clone().requires_grad_()
        loss = loss_of(grouping, secondary=0.7)
        expected = loss(dense, teacher, columns)
        expected.backward()
        for result in results:
            value, size, _ = result[grouping]
            torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=0)
            assert size == loss.mean_size
        gradient = torch.cat([result[grouping][2] for result in results], dim=1)
        torch.testing.assert_close(gradient, dense.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grouping": "teacher"}, "grouping is 'teacher'; expected 'adaptive', 'fixed' or 'per_sample'"),
        ({"size": 10}, "size is 10; expected none with grouping: per_sample, only with fixed"),
        (
            {"grouping": "fixed", "share": 0.9},
            r"share is 0\.9; expected none with grouping: fixed, only with per_sample or ad",
        ),
        ({"grouping": "fixed", "size": 0}, "size is 0; expected a positive whole number; .* 10000"),
        ({"grouping": "adaptive", "step": 2.5}, r"step is 2\.5; expected a positive whole number; .* 100"),
        ({"share": 1.5}, r"share is 1\.5; expected a share in \(0, 1\]"),
        ({"temperature": 0}, "temperature is 0; expected a positive number; the paper has 4"),
        ({"primary": -1}, "primary is -1; expected a number >= 0; the paper has 8, 1 and 0"),
        ({"primary": 0, "binary": 0}, "secondary is 0.*expected a number above 0 where primary and binary are 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(RecipeError, match=f"gkd: {message}"):
        GroupedLoss(**options)


def test_columns_of_another_length_are_refused():
    with pytest.raises(ShapeError, match=r"labels \(3,\) for 2 rows; expected \(2,\)"):
        GroupedLoss()(STUDENT, TEACHER, torch.zeros(3, 1, dtype=torch.int64))
