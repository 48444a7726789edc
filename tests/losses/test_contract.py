"""What every loss must hold: each of the catalogue, which must bring its oracle, or those of another package.

`pytest tests/losses/test_contract.py tests/losses/test_ranks.py --loss my_package.losses:NormLoss` tries such a class.
"""

import re

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from insightface_cakd.errors import ShapeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.base import DistillLoss
from tests.losses.cases import (
    EMBEDDINGS,
    build,
    evaluate,
    expected,
    fixture,
    fresh,
    identities,
    random_pair,
    shaped,
    value_and_gradient,
)
from tests.oracles import KNOWN, ORACLES, ORDERED, SCALE_FREE

# A margin loss compares with labels, not with a teacher; tests/losses/test_prompts.py holds it to the same.
COMPARING = {name for name, kind in LOSSES.items() if kind.reads != "prompted_logits"}


def pytest_generate_tests(metafunc):
    """Try `name`, any loss, `shipped`, one with an oracle, or `remembers`, one with a memory."""
    own = metafunc.config.getoption("--loss")
    names = {"name": own or sorted(COMPARING), "shipped": [] if own else sorted(COMPARING)}
    names["remembers"] = [name for name in names["name"] if LOSSES[name].keeps_state]
    for asked in names.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(asked, names[asked])


def test_every_loss_has_an_oracle_and_a_known_value():
    assert COMPARING == set(ORACLES) == set(KNOWN)


def test_is_documented_and_names_its_source(shipped):
    kind = LOSSES[shipped]
    assert issubclass(kind, DistillLoss)
    assert kind.paper
    for section in ("Shape:", "Units:", "Edge cases:", "Source:"):
        assert section in kind.__doc__


def test_equals_its_oracle_in_float64(shipped):
    for seed in range(3):
        student, teacher = random_pair(shipped, seed=seed)
        value = float(evaluate(shipped, student, teacher))
        assert value > 0
        assert value == pytest.approx(expected(shipped, student, teacher), rel=1e-10)


def test_equals_its_oracle_in_float32(shipped):
    student, teacher = random_pair(shipped, dtype=torch.float32)
    loss = evaluate(shipped, student, teacher)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert float(loss) == pytest.approx(expected(shipped, student, teacher), rel=1e-5)


def test_has_the_known_value(shipped):
    assert float(evaluate(shipped, *fixture(shipped))) == pytest.approx(KNOWN[shipped], abs=5e-10)


def test_is_zero_with_zero_gradient_when_the_student_equals_the_teacher_if_it_says_so(name):
    zero = []
    for teacher in (fixture(name)[1], random_pair(name)[1]):
        student = teacher.clone().requires_grad_()
        loss = fresh(name, teacher.shape[1])(student, teacher, identities(len(teacher)))
        loss.backward()
        zero.append(float(loss.detach()) == pytest.approx(0, abs=1e-12) and float(student.grad.abs().max()) < 1e-9)
    # A triplet may hold on one of them by chance.
    assert all(zero) == LOSSES[name].zero_at_teacher


def test_gradient_is_that_of_finite_differences(name):
    student, teacher = random_pair(name, rows=4, width=3)
    # What a loss remembers is a constant: it must not move while it is differentiated.
    loss, labels = build(name, student.shape[1]).eval(), identities(4)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, teacher, labels), student.requires_grad_())


def test_the_teacher_gets_no_gradient_unless_the_loss_says_so(name):
    student, teacher = (rows.requires_grad_() for rows in random_pair(name))
    evaluate(name, student, teacher).backward()
    assert (teacher.grad is None) == LOSSES[name].detaches_teacher
    assert student.grad.abs().max() > 0


def test_the_order_of_the_batch_matters_only_where_it_should(name):
    student, teacher = random_pair(name)
    order = torch.randperm(len(student), generator=torch.Generator().manual_seed(1))
    shuffled = evaluate(name, student[order], teacher[order], identities(len(order))[order])
    unchanged = float(shuffled) == pytest.approx(float(evaluate(name, student, teacher)), rel=1e-12)
    assert unchanged == (name not in ORDERED)


def test_the_students_scale_matters_only_where_it_should(shipped):
    student, teacher = random_pair(shipped)
    value = float(evaluate(shipped, student, teacher))
    unchanged = float(evaluate(shipped, 3 * student, teacher)) == pytest.approx(value, rel=1e-9)
    assert unchanged == (shipped in SCALE_FREE)


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


@pytest.mark.parametrize("edge", EDGES)
def test_edge_batches_give_a_finite_loss_and_a_finite_bounded_gradient(name, edge):
    student, teacher = (shaped(name, rows) for rows in EDGES[edge])
    loss, gradient = value_and_gradient(name, student, teacher)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 1e7 if len(gradient) else True


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, 0, 1]])
def test_any_labels_are_taken(name, labels):
    student, teacher = (shaped(name, torch.tensor(rows)) for rows in EMBEDDINGS)
    labels = torch.tensor(labels)
    # Those of a loss on logits are columns, of which there are as many as classes.
    labels = labels.clamp(max=student.shape[1] - 1) if LOSSES[name].reads == "logits" else labels
    loss, gradient = value_and_gradient(name, student, teacher, labels)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_give_a_float32_loss_close_to_the_float32_one(name, dtype):
    scale = 64 if LOSSES[name].reads == "logits" else 1
    width = 20_000 if LOSSES[name].reads == "logits" else 512
    student, teacher = (
        (scale * torch.nn.functional.normalize(rows)).to(dtype)
        for rows in random_pair(name, 8, width, dtype=torch.float32)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, gradient = value_and_gradient(name, student, teacher)
    assert loss.dtype == torch.float32
    assert torch.isfinite(gradient).all()
    assert float(loss) == pytest.approx(float(evaluate(name, student.float(), teacher.float())), rel=1e-2, abs=1e-4)


def test_batches_of_different_length_are_refused_with_both_shapes(name):
    student, teacher = random_pair(name)
    shapes = f"student {tuple(student.shape)} vs teacher {tuple(teacher[:5].shape)}"
    with pytest.raises(ShapeError, match=re.escape(shapes)):
        evaluate(name, student, teacher[:5])


@pytest.mark.parametrize(("labels", "given"), [(None, "none"), (torch.arange(5), r"\(5,\)")])
def test_missing_labels_are_refused_where_they_are_needed(name, labels, given):
    student, teacher = random_pair(name)
    loss = build(name, student.shape[1])
    if not LOSSES[name].needs_labels:
        assert torch.isfinite(loss(student, teacher, labels))
        return
    with pytest.raises(ShapeError, match=rf"labels {given} for 6 rows; expected \(6,\)\. Give the identity"):
        loss(student, teacher, labels)


def test_says_truly_whether_it_keeps_state(name):
    assert bool(list(LOSSES[name]().buffers())) == LOSSES[name].keeps_state


def test_a_saved_and_loaded_loss_goes_on_bit_for_bit(remembers):
    first, second, third = (random_pair(remembers, seed=seed, dtype=torch.float32) for seed in range(3))
    labels = identities(6)
    whole = fresh(remembers, 5)
    for pair in (first, second):
        whole(*pair, labels)
    resumed = fresh(remembers, 5)
    resumed.load_state_dict({key: value.clone() for key, value in whole.state_dict().items()})
    assert torch.equal(whole(*third, labels), resumed(*third, labels))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key])


def test_state_moves_in_train_mode_only_and_never_has_a_gradient(remembers):
    student, teacher = random_pair(remembers)
    loss, labels = build(remembers, student.shape[1]), identities(6)
    before = {key: value.clone() for key, value in loss.state_dict().items()}
    loss.eval()(student.requires_grad_(), teacher, labels)
    assert all(torch.equal(value, before[key]) for key, value in loss.state_dict().items())
    loss.train()(student, teacher, labels)
    assert not all(torch.equal(value, before[key]) for key, value in loss.state_dict().items())
    assert not any(value.requires_grad for value in loss.buffers())


class NoWaiting(TorchDispatchMode):
    """Refuse what makes a GPU's host wait: reading a value, and results whose size depends on values."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        assert name not in self.WAITS, name
        assert not by_mask, "index by a mask"
        return func(*args, **kwargs or {})


def test_no_step_waits_for_the_device(name):
    student, teacher = random_pair(name, dtype=torch.float32)
    loss, labels = build(name, student.shape[1]), identities(6)
    student.requires_grad_()
    loss(student, teacher, labels)
    with NoWaiting():
        loss(student, teacher, labels).backward()
