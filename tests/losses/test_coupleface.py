"""The relation-aware loss: its published value, the order of its two steps, and a bank that does not depend on chance."""

import pytest
import torch

from insightface_cakd.errors import RecipeError, ShapeError
from insightface_cakd.losses import coupleface
from insightface_cakd.losses.coupleface import RelationAwareLoss
from tests.losses.cases import EMBEDDINGS, fresh, random_pair
from tests.pair_oracles import HARDEST, bank, relation_aware

STUDENT, TEACHER = (torch.tensor(rows, dtype=torch.float64) for rows in EMBEDDINGS)
TWO = STUDENT[[0, 2]], TEACHER[[0, 2]], torch.tensor([0, 1])


def started(rows, lists, slack=0.03):
    loss = RelationAwareLoss(slack)
    loss.start(rows, torch.as_tensor(lists))
    return loss


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=-1)


def test_the_bank_moves_before_relations_are_taken():
    """Two identities that list each other see the rows of this step; the other order would give the second value."""
    assert float(fresh("relation_aware")(*TWO)) == pytest.approx(0.0535874, abs=5e-8)
    assert float(fresh("relation_aware").eval()(*TWO)) == pytest.approx(0.0651739, abs=5e-8)
    rows = [tensor.numpy() for tensor in TWO]
    assert relation_aware(*rows, update="last") == pytest.approx(0.0651739, abs=5e-8)


def test_the_bank_holds_the_mean_direction_of_each_identity_of_the_batch_and_leaves_the_others():
    loss = fresh("relation_aware")
    loss(STUDENT, TEACHER, torch.tensor([1, 1, 3, 1]))
    expected = torch.tensor(bank(3))
    expected[1] = unit(unit(TEACHER)[[0, 1, 3]].mean(dim=0))
    expected[3] = unit(TEACHER)[2]
    torch.testing.assert_close(loss.bank, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bank_is_the_same_to_the_bit_in_whatever_order_images_come(dtype):
    _, teacher = random_pair("relation_aware", 40, 64, dtype=dtype)
    labels = torch.randint(0, 9, (40,), generator=torch.Generator().manual_seed(2))
    rows = torch.randn(9, 64, generator=torch.Generator().manual_seed(3), dtype=dtype)
    banks = []
    for seed in range(4):
        loss = started(rows, (torch.arange(9)[:, None] + 1) % 9)
        order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
        loss(teacher[order], teacher[order], labels[order])
        banks.append(loss.bank)
    assert all(torch.equal(banks[0], other) for other in banks[1:])
    torch.testing.assert_close(banks[0][4], unit(unit(teacher)[labels == 4].mean(dim=0)))


def test_an_image_alone_is_taken_as_it_is():
    _, teacher = random_pair("relation_aware", 4, 512, dtype=torch.float32)
    loss = started(torch.randn(4, 512), HARDEST)
    loss(teacher, teacher, torch.arange(4))
    torch.testing.assert_close(loss.bank, unit(teacher), rtol=0, atol=1e-7)


def test_only_similarities_above_the_teachers_and_q_are_punished():
    """One-sided: a student that is further from the others than the teacher pays nothing and is not pulled."""
    loss = started(torch.eye(3), [[1, 2], [0, 2], [0, 1]]).eval()
    teacher = torch.tensor([[1.0, 0.5, 0.5]])
    for row, value in (([1.0, 0, 0], 0.0), ([1.0, 0.52, 0.5], 0.0), ([1.0, 0.9, 0.5], None)):
        student = torch.tensor([row], requires_grad=True)
        raw = loss(student, teacher, torch.tensor([0]))
        raw.backward()
        if value is None:
            assert float(raw.detach()) > 0
            assert float(student.grad[0, 1]) > 0
        else:
            assert float(raw.detach()) == 0
            assert not student.grad.any()


def test_a_large_q_asks_for_nothing():
    student, teacher = random_pair("relation_aware")
    loss = started(torch.tensor(bank(5)), HARDEST, slack=2)
    raw = loss(student.requires_grad_(), teacher, torch.arange(6) % 4)
    raw.backward()
    assert float(raw.detach()) == 0
    assert not student.grad.any()


def test_a_step_in_chunks_is_the_same_step(monkeypatch):
    student, teacher = random_pair("relation_aware", 7, 16)
    labels = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    found = []
    for size in (1, 70, 1 << 23):
        monkeypatch.setattr(coupleface, "CHUNK", size)
        rows = student.clone().requires_grad_()
        loss = fresh("relation_aware", 16)
        raw = loss(rows, teacher, labels)
        raw.backward()
        found.append((raw.detach(), rows.grad, loss.bank))
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-15)


def test_memory_does_not_grow_with_the_lists():
    """Nothing of the size of all bank rows in question is kept for the backward."""
    kept = []
    loss = started(torch.randn(50, 32), torch.randint(0, 50, (50, 40)))
    student, teacher = (torch.randn(20, 32) for _ in range(2))
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        loss(student.requires_grad_(), teacher, torch.arange(20)).backward()
    assert max(kept) <= 20 * 32


def test_rows_of_no_identity_have_no_relations_and_change_nothing():
    student, teacher = random_pair("relation_aware")
    loss, before = fresh("relation_aware", 5), fresh("relation_aware", 5).bank
    rows = student.clone().requires_grad_()
    raw = loss(rows, teacher, torch.full((6,), -1))
    raw.backward()
    assert float(raw.detach()) == 0
    assert not rows.grad.any()
    assert torch.equal(loss.bank, before)
    mixed, alone = fresh("relation_aware", 5), fresh("relation_aware", 5)
    labels = torch.tensor([-1, 0, -1, 4, 2, 0])
    some = mixed(student, teacher, labels)
    others = alone(student[[1, 4, 5]], teacher[[1, 4, 5]], labels[[1, 4, 5]])
    assert torch.equal(mixed.bank, alone.bank)
    assert float(some) * 6 == pytest.approx(float(others) * 3, rel=1e-12)


def test_features_that_cancel_or_are_zero_leave_the_row():
    loss = fresh("relation_aware")
    loss(STUDENT[:3], torch.stack([TEACHER[0], -TEACHER[0], 0 * TEACHER[0]]), torch.tensor([1, 1, 2]))
    assert torch.equal(loss.bank, fresh("relation_aware").bank)


def test_a_value_that_is_not_finite_is_not_hidden():
    for side in (0, 1):
        rows = [STUDENT.clone(), TEACHER.clone()]
        rows[side][1, 1] = float("nan")
        assert not torch.isfinite(fresh("relation_aware")(*rows, torch.tensor([0, 1, 2, 3])))


def test_the_lists_stay_out_of_the_checkpoint_and_the_bank_in_it():
    assert list(fresh("relation_aware").state_dict()) == ["bank"]


def test_prototypes_become_unit_rows_of_its_own():
    rows = torch.tensor(bank(3)) * 5
    loss = started(rows, HARDEST)
    loss(STUDENT, TEACHER, torch.arange(4))
    assert torch.equal(rows, torch.tensor(bank(3)) * 5)
    torch.testing.assert_close(started(rows, HARDEST).bank, torch.tensor(bank(3)))


def test_use_before_start_and_what_does_not_fit_are_refused():
    with pytest.raises(RecipeError, match=r"relation_aware: has no prototypes; .*--prototypes FOLDER"):
        RelationAwareLoss()(*TWO)
    with pytest.raises(ShapeError, match=r"teacher \(4, 5\), bank \(4, 3\); expected rows of one width"):
        fresh("relation_aware")(torch.zeros(4, 5), torch.zeros(4, 5), torch.arange(4))
    for rows, lists in ((torch.zeros(4, 3), torch.zeros(3, 2)), (torch.zeros(4, 3), torch.zeros(4, 0))):
        with pytest.raises(ShapeError, match=r"relation_aware: prototypes \(4, 3\) and lists .*K >= 1"):
            RelationAwareLoss().start(rows, lists)


@pytest.mark.parametrize("slack", [-0.1, float("nan"), True, "0.03"])
def test_a_slack_that_cannot_be_meant_is_refused(slack):
    with pytest.raises(RecipeError, match=r"relation_aware: slack is .*; expected a cosine >= 0; the paper uses 0\.03"):
        RelationAwareLoss(slack)
