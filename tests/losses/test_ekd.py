"""EKD: thresholds that move and are saved, batches without a kind of pair, and a queue for small batches."""

import pytest
import torch

from insightface_cakd.errors import RecipeError
from insightface_cakd.losses.ekd import EvaluationRankLoss
from tests.losses.cases import build, fixture, identities, random_pair

LABELS = torch.tensor([0, 0, 1, 1])


def many(count, seed=0):
    """Return rows of which most pairs lie near each other on both sides."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 16, generator=generator)
    return rows, rows + 0.3 * torch.randn(count, 16, generator=generator)


def test_the_first_step_from_thresholds_of_0():
    loss = EvaluationRankLoss(hardest=2)
    assert float(loss(*fixture("ekd"), LABELS)) == pytest.approx(0.179992993, abs=5e-10)
    torch.testing.assert_close(loss.thresholds[0], torch.full((6,), 0.00528498, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(loss.thresholds[1], torch.full((6,), 0.00418504, dtype=torch.float64), rtol=0, atol=1e-6)


def test_thresholds_move_one_percent_towards_the_batchs():
    loss = build("ekd")
    loss(*fixture("ekd"), LABELS)
    expected = [0.203285, 0.302285, 0.401285, 0.500285, 0.599285, 0.698285]
    assert loss.thresholds[0].tolist() == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(("count", "different"), [(64, 4), (512, 6)])
def test_small_batches_have_fewer_thresholds(count, different):
    """The floor of the index: 64 images have about 2,000 negative pairs, 512 have 130,000."""
    loss = EvaluationRankLoss()
    loss(*many(count), torch.arange(count))
    assert len(set(loss.thresholds[0].tolist())) == different


def test_a_queue_gives_a_small_batch_the_thresholds_of_a_large_one():
    rows, taught = many(512)
    large, small = EvaluationRankLoss(momentum=0.0), EvaluationRankLoss(momentum=0.0, queue=448)
    large(rows, taught, torch.arange(512))
    for part in range(8):
        chosen = slice(64 * part, 64 * part + 64)
        small(rows[chosen], taught[chosen], torch.arange(512)[chosen])
    assert len(set(small.thresholds[0].tolist())) >= 5
    torch.testing.assert_close(small.thresholds[:, :3], large.thresholds[:, :3], rtol=0, atol=0.1)


def test_queued_images_are_paired_with_the_batch_as_if_they_were_in_it():
    """One batch of 6 against 3 images in the queue and 3 in the batch: the pairs among the queued ones are missing."""
    (student, teacher), labels = random_pair("ekd"), identities(6)
    queued = EvaluationRankLoss(queue=8)
    for part in (slice(0, 3), slice(3, 6)):
        pairs = queued.pairs(*(torch.nn.functional.normalize(rows[part]) for rows in (student, teacher)), labels[part])
    whole = EvaluationRankLoss().pairs(*(torch.nn.functional.normalize(rows) for rows in (student, teacher)), labels)
    kept = torch.triu_indices(6, 6, offset=1)[1] >= 3
    for name in ("positive", "negative"):
        ours, theirs = getattr(pairs, name), getattr(whole, name)[kept]
        assert int(ours.sum()) == int(theirs.sum()) > 0
        for side in ("student", "teacher"):
            expected = getattr(whole, side)[kept][theirs].sort().values
            torch.testing.assert_close(getattr(pairs, side)[ours].sort().values, expected)


@pytest.mark.parametrize("queue", [0, 4])
@pytest.mark.parametrize(
    "labels", [[0, 1, 2, 3], [5, 5, 5, 5], [0, 0, 1, 2]], ids=["no positive", "no negative", "both"]
)
def test_batches_without_a_kind_of_pair_are_finite_and_leave_finite_state(labels, queue):
    """The mean of no pairs is NaN in the released code."""
    loss = EvaluationRankLoss(queue=queue)
    for _ in range(3):
        student = fixture("ekd")[0].requires_grad_()
        value = loss(student, fixture("ekd")[1], torch.tensor(labels))
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()
        assert all(torch.isfinite(buffer).all() for buffer in loss.buffers())


def test_without_negative_pairs_the_thresholds_stay():
    loss = build("ekd")
    before = loss.thresholds.clone()
    loss(*fixture("ekd"), torch.zeros(4, dtype=torch.int64))
    assert torch.equal(loss.thresholds, before)


def test_queue_and_thresholds_resume_bit_for_bit():
    whole = EvaluationRankLoss(queue=10)
    labels = identities(6)
    for seed in range(3):
        whole(*random_pair("ekd", seed=seed, dtype=torch.float32), labels)
    resumed = EvaluationRankLoss(queue=10)
    resumed.load_state_dict({key: value.clone() for key, value in whole.state_dict().items()})
    after = random_pair("ekd", seed=3, dtype=torch.float32)
    assert torch.equal(whole(*after, labels), resumed(*after, labels))
    assert set(whole.state_dict()) == {
        "thresholds",
        *(f"queue.{name}" for name in ("rows", "labels", "count", "cursor")),
    }
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in whole.state_dict().items())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", 0),
        ("hardest", 0),
        ("hardest", 1.5),
        ("momentum", 1),
        ("positive", -1),
        ("negative", "x"),
        ("queue", -1),
    ],
)
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(RecipeError, match=f"ekd: {option} is .*; expected a"):
        EvaluationRankLoss(**{option: value})


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 0]], ids=["no positive pair", "no negative pair"])
def test_no_nan_when_no_positive_pair_exists_nor_without_a_negative_one(labels):
    """A published trap: the mean of nothing is NaN in the released code."""
    student, teacher = (rows.float() for rows in fixture("ekd"))
    student.requires_grad_()
    loss = build("ekd")(student, teacher, torch.tensor(labels))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
