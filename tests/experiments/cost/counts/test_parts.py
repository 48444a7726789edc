"""Whose operator runs, in the forward and in the backward."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from insightface_cakd.experiments.cost.counts.operations import Operations
from insightface_cakd.experiments.cost.counts.parts import Parts


class Head(nn.Module):
    """A host's head: one product."""

    def __init__(self):
        super().__init__()
        self.centres = nn.Linear(4, 7, bias=False)

    def forward(self, rows):
        return self.centres(rows).sum()


class Distilled(Head):
    """A head with one product of a method."""

    def __init__(self):
        super().__init__()
        self.term = nn.Linear(4, 11, bias=False)

    def forward(self, rows):
        return super().forward(rows) + self.term(rows).sum()


class Recomputed(nn.Module):
    """A product that is computed again in the backward."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, rows):
        return checkpoint(lambda given: self.layer(given).relu(), rows, use_reentrant=False)


def products(student, head, marks):
    """Return (part, whether backward) -> products of matrices of one step."""
    parts = Parts()
    rows = torch.ones(3, 4)
    with parts.marked(marks, Head), Operations(parts, 1) as operations:
        head(student(rows)).backward()
        torch.mm(rows, rows.t())
    found = {}
    for one in operations.done:
        if one.kind == "matrices":
            found[one.part, one.backward] = found.get((one.part, one.backward), 0) + 1
    return found


def test_forward_by_the_module_and_backward_by_where_the_node_was_made():
    """The student's input needs no gradient, so that its backward has one product, and the others' two each."""
    student, head = nn.Linear(4, 4, bias=False), Distilled()
    assert products(student, head, {student: "student", head: "method"}) == {
        ("student", False): 1,
        ("head", False): 1,
        ("method", False): 1,
        ("method", True): 2,
        ("head", True): 2,
        ("student", True): 1,
        ("update", False): 1,
    }


def test_what_is_recomputed_belongs_to_the_backward_of_its_part():
    student, head = Recomputed(), Head()
    found = products(student, head, {student: "student", head: "method"})
    assert found["student", False] == 1
    assert found["student", True] == 2


def test_nothing_stays_behind():
    student, head = nn.Linear(4, 4, bias=False), Head()
    forward = Head.forward
    products(student, head, {student: "student", head: "method"})
    assert Head.forward is forward
    assert not student._forward_hooks
    assert not student._forward_pre_hooks
