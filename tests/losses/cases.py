"""What the losses are tried on: the fixture of the known values, random batches, and losses with the memory of their oracle."""

import torch

from insightface_cakd.losses import LOGITS as KINDS
from insightface_cakd.losses import LOSSES
from tests.oracles import ORACLES
from tests.pair_oracles import HARDEST, STUDENT_THRESHOLDS, TEACHER_THRESHOLDS, bank, queued

EMBEDDINGS = (
    [[1.0, 0.2, 0.0], [0.8, 0.5, 0.1], [0.0, 1.0, 0.4], [-0.3, 0.7, 0.6]],
    [[2.0, 0.1, 0.3], [1.5, 0.6, -0.2], [0.2, 1.8, 0.5], [-0.5, 1.2, 1.6]],
)
LOGITS = (
    [[8.0, 2.0, 1.0, 0.0, -1.0], [1.0, 0.0, 3.0, 5.0, 2.0]],
    [[10.0, 4.0, 0.0, 1.0, -2.0], [0.0, 1.0, 2.0, 9.0, 3.0]],
)

MAPS = (
    [[[[0.0, 1], [2, 3]], [[4, 5], [6, 7]]], [[[2, 1], [0, 3]], [[1, 1], [2, 0]]]],
    [[[[1.0, 2], [0, 1]], [[3, 0], [1, 2]]], [[[0, 1], [2, 1]], [[1, 3], [0, 1]]]],
)
# FitNet's equation asks for no map; its known value is that of rows.
FIXTURES = {"fitnet": EMBEDDINGS}
OPTIONS = {"ekd": {"hardest": 2}, "qud": {"queue": 2}, "gkd": {"grouping": "fixed", "size": 2}}


def fresh(name, width=3):
    """Return a new loss, ready for its first step."""
    loss = LOSSES[name](**OPTIONS.get(name, {}))
    if loss.needs_prototypes:
        loss.start(torch.tensor(bank(width)), torch.tensor(HARDEST))
    return loss


def build(name, width=3):
    """Return a new loss; one that remembers, with the memory that its oracle has."""
    loss = fresh(name, width)
    if name == "ekd":
        loss.thresholds = torch.tensor([STUDENT_THRESHOLDS, TEACHER_THRESHOLDS], dtype=torch.float64)
    if name == "qud":
        loss.queue.push(torch.tensor(queued(width)))
    return loss


def identities(count):
    """Return labels of which most come twice."""
    return torch.arange(count) // 2 % 3


def reads(name):
    """Return the fixture that has what a loss reads."""
    kind = LOSSES[name].reads
    return FIXTURES.get(name, MAPS if kind == "map" else LOGITS if kind in KINDS else EMBEDDINGS)


def fixture(name):
    return tuple(torch.tensor(rows, dtype=torch.float64) for rows in reads(name))


def shaped(name, rows):
    """Return what the loss reads: rows, or maps (B, 3, 2, 2) that depend on them linearly."""
    if reads(name) is not MAPS:
        return rows
    mixing = torch.randn(rows.shape[1], 12, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return (rows @ mixing.to(rows.dtype)).view(-1, 3, 2, 2)


def random_pair(name, rows=6, width=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(shaped(name, torch.randn(rows, width, generator=generator, dtype=dtype)) for _ in range(2))


def evaluate(name, student, teacher, labels=None):
    """Return the value of a new loss."""
    labels = identities(len(student)) if labels is None else labels
    return build(name, student.shape[1])(student, teacher, labels)


def expected(name, student, teacher):
    rows = (student.double().numpy(), teacher.double().numpy())
    labels = (identities(len(student)).numpy(),) if LOSSES[name].needs_labels else ()
    return ORACLES[name](*rows, *labels)


def value_and_gradient(name, student, teacher, labels=None):
    student = student.clone().requires_grad_()
    loss = evaluate(name, student, teacher, labels)
    loss.backward()
    return loss.detach(), student.grad
