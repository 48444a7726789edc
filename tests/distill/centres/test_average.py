"""AdaDistill: centres by hand and from the equation, duplicates in any order, and a step that never waits for the device."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from insightface_cakd.errors import ShapeError
from tests.centre_oracles import W3, S, T, Y, arc_loss, kept_shares, moved_centres
from tests.distill.centres.small import CLASSES, rule_of, seen, small_head, toy_run
from tests.hosts.both_hosts import double_precision
from tests.toy import WIDTH, toy_batch

TWO = (S[[0, 2]], T[[0, 2]], [0, 1])


def step_of(students, teachers, labels, simple=False, start=W3, scale=4):
    """Return loss, centres and mean share of one forward in float64."""
    with double_precision():
        rule = rule_of("simple" if simple else "average", start.shape[1])
        head, distillation = small_head(rule, start.shape, torch.tensor(start), scale)
        loss = head(seen(torch.tensor(students), torch.tensor(teachers)), torch.tensor(labels))
    return float(loss), head.weight.detach().numpy(), float(distillation.step.raw["head.alpha"])


def test_the_values_computed_by_hand():
    loss, centres, alpha = step_of(*TWO)
    assert loss == pytest.approx(0.190737502, abs=5e-10)
    assert alpha == pytest.approx((0.966231 + 0.968361) / 2, abs=1e-6)
    expected = [[0.516470, 0.001668, 0.005003], [0.003368, 1.967034, 0.202092], W3[2]]
    np.testing.assert_allclose(centres, expected, rtol=0, atol=1e-6)
    assert np.array_equal(centres[2], W3[2])
    assert step_of(*TWO, scale=64)[0] == pytest.approx(1.674e-11, rel=1e-3)
    assert kept_shares(*TWO, W3) == pytest.approx([0.966231, 0.968361], abs=1e-6)
    assert kept_shares(*TWO, W3, simple=True) == pytest.approx([0.978234, 0.988357], abs=1e-6)


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize("labels", [Y, [0, 0, 0, 0], [2, 1, 2, 1], [0, 1, 2, 0]], ids=str)
def test_equals_the_equation_with_several_images_of_a_class(labels, simple):
    loss, centres, alpha = step_of(S, T, labels, simple)
    expected = moved_centres(S, T, labels, W3, simple)
    np.testing.assert_allclose(centres, expected, rtol=1e-12, atol=1e-15)
    assert loss == pytest.approx(arc_loss(S, labels, expected, [0.45] * 4, 4), rel=1e-10)
    assert alpha == pytest.approx(np.mean(kept_shares(S, T, labels, W3, simple)), rel=1e-12)


def test_a_centre_that_was_never_seen_becomes_the_teachers_embedding():
    """From the host's own start, a random row orthogonal to it or nearly so."""
    start = np.array([[0.0, 0.0, 0.01], [0.01, 0.0, 0.0], [0.0, 0.01, 0.0]])
    _, centres, alpha = step_of(S[:1], np.array([[2.0, 0.0, 0.0]]), [0], start=start)
    np.testing.assert_allclose(centres[0], [1.0, 0.0, 0.0], atol=2e-6)
    assert alpha == pytest.approx(1e-6)


def test_the_order_of_the_images_changes_no_bit():
    generator = torch.Generator().manual_seed(4)
    students, teachers = (torch.randn(40, 8, generator=generator) for _ in range(2))
    labels = torch.randint(0, 5, (40,), generator=generator)
    start = torch.randn(5, 8, generator=generator)
    found = []
    for _ in range(4):
        order = torch.randperm(40, generator=generator)
        head, _ = small_head(rule_of("average", 8), (5, 8), start)
        head(seen(students[order], teachers[order]), labels[order])
        found.append(head.weight.clone())
    assert not torch.equal(found[0], start)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_the_gradient_reaches_the_student_only(tmp_path):
    student, head, _ = toy_run("average", tmp_path)
    images, labels = toy_batch(CLASSES)
    before = head.weight.clone()
    head(student(images), labels).backward()
    present = torch.zeros(CLASSES, dtype=torch.bool).index_fill(0, labels, True)
    assert torch.equal((head.weight != before).any(dim=1), present)
    assert head.weight.grad is None
    assert all(value.grad is None for value in student.teacher.network.parameters())
    assert all(value.grad.abs().max() > 0 for value in student.backbone.parameters())


def test_the_gradient_is_that_of_the_moved_centres():
    """A head that stands where the first one arrived, and moves no more, gives the same."""
    students = torch.tensor(S, dtype=torch.float32, requires_grad=True)
    teachers, labels = torch.tensor(T, dtype=torch.float32), torch.tensor(Y)
    head, _ = small_head(rule_of("average", 3), W3.shape, torch.tensor(W3))
    (moving,) = torch.autograd.grad(head(seen(students, teachers), labels), students)
    (standing,) = torch.autograd.grad(head.eval()(seen(students, teachers), labels), students)
    assert torch.equal(moving, standing)


def test_in_eval_mode_nothing_moves():
    head, distillation = small_head(rule_of("average", 3), W3.shape, torch.tensor(W3))
    before = head.weight.clone()
    head.eval()(seen(torch.tensor(S).float(), torch.tensor(T).float()), torch.tensor(Y))
    assert torch.equal(head.weight, before)
    assert "head.alpha" not in distillation.step.raw


def test_a_teacher_of_another_width_is_refused():
    with pytest.raises(
        ShapeError, match=r"student's embeddings have 16 values, the teacher's 24; .*embedding_size to 24"
    ):
        small_head(rule_of("average", 24), (CLASSES, WIDTH))


def test_embeddings_of_zeros_and_half_precision_stay_finite():
    for kind in (torch.float16, torch.bfloat16, torch.float32):
        head, _ = small_head(rule_of("average", 3), W3.shape, torch.tensor(W3))
        students = torch.zeros(2, 3, requires_grad=True)
        loss = head(seen(students, torch.tensor([[0, 0, 0], [1, 2, 0]], dtype=kind)), torch.tensor([0, 1]))
        loss.backward()
        assert all(torch.isfinite(value).all() for value in (loss, students.grad, head.weight))
        assert head.weight.dtype == torch.float32


class Waiting(TorchDispatchMode):
    """Fails at what makes a CUDA device wait, or what takes part in all classes."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim"), name
        assert not (name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])), "index by mask"
        result = func(*args, **(kwargs or {}))
        rows = result.shape[0] if isinstance(result, torch.Tensor) and result.ndim and name != "index_add_" else 0
        assert rows < 1000, name
        return result


@pytest.mark.parametrize("rule", [rule_of("average", 3), rule_of("quality", 3, torch.ones(1000, 3))])
def test_nothing_waits_for_the_device_or_grows_with_the_classes(rule):
    head, _ = small_head(rule, (1000, 3))
    labels = torch.tensor([0, 999, 0, 7])
    features = seen(torch.tensor(S).float(), torch.tensor(T).float())[1]
    with Waiting():
        rule.before_loss(head, features, labels)
