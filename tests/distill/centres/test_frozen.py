"""The teacher's class centres in the student's head: the value by hand, and rows that nothing moves."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from insightface_cakd.errors import RunError, ShapeError
from tests.centre_oracles import W3, S, T, arc_loss
from tests.distill.centres.small import CLASSES, rule_of, seen, small_head, toy_run, toy_steps
from tests.hosts.both_hosts import double_precision
from tests.toy import WIDTH, toy_batch, toy_centres

FIXED = ("frozen", "quality")


def test_the_value_computed_by_hand():
    """ArcDistill on two images, margin 0.45, s = 4."""
    with double_precision():
        students, teachers, centres = map(torch.tensor, (S[[0, 2]], T[[0, 2]], W3))
        head, _ = small_head(rule_of("frozen", 3, centres), (3, 3))
        found = float(head(seen(students, teachers), torch.tensor([0, 1])))
    assert found == pytest.approx(0.191198908, abs=5e-10)
    assert arc_loss(S[[0, 2]], [0, 1], W3, [0.45, 0.45], 4) == pytest.approx(0.191198908, abs=5e-10)


@pytest.mark.parametrize("kind", FIXED)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_rows_stay_bit_for_bit_under_weight_decay_and_momentum(kind, optimizer, tmp_path):
    student, head, _ = toy_run(kind, tmp_path)
    groups = [{"params": list(student.parameters())}, {"params": list(head.parameters())}]
    if optimizer == "sgd":
        chosen = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.5)
    else:
        chosen = torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5)
    images, labels = toy_batch(CLASSES)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    for _ in range(3):
        head(student(images), labels).backward()
        chosen.step()
        chosen.zero_grad()
    assert torch.equal(head.weight, toy_centres(CLASSES, seed=5))
    assert head.weight.grad is None
    assert chosen.param_groups[-1]["params"] == [head.weight]
    assert head.weight not in chosen.state
    assert all(not torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_gradients_are_those_of_the_margin_softmax_written_out(tmp_path):
    _, _, found, _ = toy_steps("frozen", tmp_path, steps=1)
    student, _, _ = toy_run("frozen", tmp_path)
    images, labels = toy_batch(CLASSES)
    cosines = normalize(student.backbone(images)) @ normalize(toy_centres(CLASSES, seed=5)).T
    own = cosines.gather(1, labels[:, None])
    moved = ((own.acos() + 0.5).cos() - own).detach()
    cross_entropy(64 * cosines.scatter_add(1, labels[:, None], moved), labels).backward()
    for name, value in student.named_parameters():
        torch.testing.assert_close(found[name], value.grad, rtol=1e-4, atol=1e-5 * float(value.grad.abs().max()))


def test_the_teacher_is_asked_only_where_something_reads_it(tmp_path, monkeypatch):
    asked = []
    for kind in ("frozen", "quality", "average"):
        student, head, _ = toy_run(kind, tmp_path)
        student.teacher.network.register_forward_hook(lambda *_, kind=kind: asked.append(kind))
        images, labels = toy_batch(CLASSES)
        head(student(images), labels).backward()
    assert asked == ["quality", "average"]


def test_the_state_is_a_plain_heads_and_is_loaded_back(tmp_path):
    _, head, _ = toy_run("frozen", tmp_path)
    state = head.state_dict()
    assert list(state) == ["weight", "cakd.step"]
    _, other, _ = toy_run("frozen", tmp_path)
    other.load_state_dict(state)
    assert not other.weight.requires_grad


def test_a_checkpoint_with_other_centres_is_refused_and_changes_nothing(tmp_path):
    _, head, _ = toy_run("frozen", tmp_path)
    state = head.state_dict() | {"weight": toy_centres(CLASSES, seed=6)}
    with pytest.raises(RunError, match=r"checkpoint: its class centres are not those of teacher\.centres; .*--centres"):
        head.load_state_dict(state)
    assert torch.equal(head.weight, toy_centres(CLASSES, seed=5))


@pytest.mark.parametrize(
    ("shape", "width", "message"),
    [
        (
            (10, 16),
            16,
            r"teacher centres \(10, 16\) do not fit a training set of 11 classes; expected one row per class",
        ),
        ((12, 16), 16, r"teacher centres \(12, 16\) do not fit a training set of 11 classes"),
        ((11, 8), 16, r"teacher centres \(11, 8\) do not fit a teacher of width 16; .*head of this teacher"),
        ((11, 8), 8, r"student's embeddings have 16 values, the teacher's 8; .*embedding_size to 8"),
    ],
)
def test_centres_that_do_not_fit_are_refused_when_the_head_is_built(shape, width, message):
    with pytest.raises(ShapeError, match=message) as raised:
        small_head(rule_of("frozen", width, torch.ones(shape)), (CLASSES, WIDTH))
    assert "\n" not in str(raised.value)


def test_rows_are_not_normalised_in_the_head(tmp_path):
    _, head, _ = toy_run("frozen", tmp_path)
    assert np.ptp(head.weight.detach().norm(dim=1).numpy()) > 0.1
