"""What every registered loss must hold; a new one cannot leave this suite, and must bring its oracle."""

import pytest
import torch

from insightface_cakd.errors import ShapeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.base import DistillLoss
from tests.oracles import KNOWN, ORACLES, SCALE_FREE

EMBEDDINGS = (
    [[1.0, 0.2, 0.0], [0.8, 0.5, 0.1], [0.0, 1.0, 0.4], [-0.3, 0.7, 0.6]],
    [[2.0, 0.1, 0.3], [1.5, 0.6, -0.2], [0.2, 1.8, 0.5], [-0.5, 1.2, 1.6]],
)
LOGITS = (
    [[8.0, 2.0, 1.0, 0.0, -1.0], [1.0, 0.0, 3.0, 5.0, 2.0]],
    [[10.0, 4.0, 0.0, 1.0, -2.0], [0.0, 1.0, 2.0, 9.0, 3.0]],
)

# A margin loss compares with labels, not with a teacher; tests/losses/test_prompts.py holds it to the same.
COMPARING = {name for name, kind in LOSSES.items() if kind.reads != "prompted_logits"}
every_loss = pytest.mark.parametrize("name", sorted(COMPARING))


def fixture(name, dtype=torch.float64):
    pair = LOGITS if LOSSES[name].reads == "logits" else EMBEDDINGS
    return tuple(torch.tensor(rows, dtype=dtype) for rows in pair)


def random_pair(rows=6, width=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, width, generator=generator, dtype=dtype) for _ in range(2))


def value_and_gradient(name, student, teacher, labels=None):
    student = student.clone().requires_grad_()
    loss = LOSSES[name]()(student, teacher, labels)
    loss.backward()
    return loss.detach(), student.grad


def test_every_loss_has_an_oracle_and_a_known_value():
    assert COMPARING == set(ORACLES) == set(KNOWN)


@every_loss
def test_is_documented_and_names_its_source(name):
    kind = LOSSES[name]
    assert issubclass(kind, DistillLoss)
    assert kind.paper
    for section in ("Shape:", "Units:", "Edge cases:", "Source:"):
        assert section in kind.__doc__


@every_loss
def test_equals_its_oracle_in_float64(name):
    for seed in range(3):
        student, teacher = random_pair(seed=seed)
        expected = ORACLES[name](student.numpy(), teacher.numpy())
        assert float(LOSSES[name]()(student, teacher)) == pytest.approx(expected, rel=1e-10)


@every_loss
def test_equals_its_oracle_in_float32(name):
    student, teacher = random_pair(dtype=torch.float32)
    loss = LOSSES[name]()(student, teacher)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert float(loss) == pytest.approx(ORACLES[name](student.double().numpy(), teacher.double().numpy()), rel=1e-5)


@every_loss
def test_has_the_known_value(name):
    assert float(LOSSES[name]()(*fixture(name))) == pytest.approx(KNOWN[name], abs=5e-10)


@every_loss
def test_is_zero_with_zero_gradient_when_the_student_equals_the_teacher(name):
    _, teacher = fixture(name)
    loss, gradient = value_and_gradient(name, teacher, teacher)
    assert float(loss) == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-9


@every_loss
def test_gradient_is_that_of_finite_differences(name):
    student, teacher = random_pair(rows=4, width=3)
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(lambda rows: loss(rows, teacher), student.requires_grad_())


@every_loss
def test_the_teacher_gets_no_gradient_unless_the_loss_says_so(name):
    student, teacher = (rows.requires_grad_() for rows in random_pair())
    LOSSES[name]()(student, teacher).backward()
    assert (teacher.grad is None) == LOSSES[name].detaches_teacher
    assert student.grad.abs().max() > 0


@every_loss
def test_the_order_of_the_batch_does_not_matter(name):
    student, teacher = random_pair()
    order = torch.randperm(len(student), generator=torch.Generator().manual_seed(1))
    loss = LOSSES[name]()
    assert float(loss(student[order], teacher[order])) == pytest.approx(float(loss(student, teacher)), rel=1e-12)


@every_loss
def test_the_students_scale_matters_only_where_it_should(name):
    student, teacher = fixture(name)
    loss = LOSSES[name]()
    unchanged = float(loss(3 * student, teacher)) == pytest.approx(float(loss(student, teacher)), rel=1e-9)
    assert unchanged == (name in SCALE_FREE)


ROWS = torch.tensor(EMBEDDINGS[0])
EDGES = {
    "one image": (ROWS[:1], ROWS[1:2]),
    "no image": (ROWS[:0], ROWS[:0]),
    "two equal rows": (ROWS[[0, 0, 1]], ROWS[[1, 2, 3]]),
    "two equal rows of the teacher": (ROWS[[0, 1, 2]], ROWS[[1, 1, 3]]),
    "collapsed student": (ROWS[[0, 0, 0, 0]], ROWS),
    "collapsed on both sides": (ROWS[[0, 0]], ROWS[[1, 1]]),
    "a zero row": (ROWS * torch.tensor([[0.0], [1], [1], [1]]), ROWS.flip(0)),
    "a zero student": (ROWS * 0, ROWS),
    "nearly equal rows": (ROWS[[0, 0, 1]] + torch.tensor([[0.0], [1e-7], [0.0]]), ROWS[[0, 1, 2]]),
    "huge values": (ROWS * 1e4, ROWS * 1e4),
}


@every_loss
@pytest.mark.parametrize("edge", EDGES)
def test_edge_batches_give_a_finite_loss_and_a_finite_bounded_gradient(name, edge):
    student, teacher = EDGES[edge]
    loss, gradient = value_and_gradient(name, student, teacher)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 1e7 if len(gradient) else True


@every_loss
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, 0, 1]])
def test_any_labels_are_taken(name, labels):
    student, teacher = (torch.tensor(rows) for rows in EMBEDDINGS)
    loss, gradient = value_and_gradient(name, student, teacher, torch.tensor(labels))
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_give_a_float32_loss_close_to_the_float32_one(name, dtype):
    scale = 64 if LOSSES[name].reads == "logits" else 1
    width = 20_000 if LOSSES[name].reads == "logits" else 512
    student, teacher = (
        (scale * torch.nn.functional.normalize(rows)).to(dtype) for rows in random_pair(8, width, dtype=torch.float32)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradient = value_and_gradient(name, student, teacher)
    assert loss.dtype == torch.float32
    assert torch.isfinite(gradient).all()
    assert float(loss) == pytest.approx(float(LOSSES[name]()(student.float(), teacher.float())), rel=1e-2, abs=1e-4)


@every_loss
def test_batches_of_different_length_are_refused_with_both_shapes(name):
    student, teacher = random_pair()
    with pytest.raises(ShapeError, match=r"student \(6, 5\) vs teacher \(5, 5\)"):
        LOSSES[name]()(student, teacher[:5])
