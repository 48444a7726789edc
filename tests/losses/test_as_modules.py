"""Each loss is a plain module for a loop of one's own: imported by its class, no recipe, no host."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from insightface_cakd import losses
from insightface_cakd.losses import LOSSES, CosineLoss


def test_every_loss_is_imported_by_its_class():
    for kind in LOSSES.values():
        assert getattr(losses, kind.__name__) is kind
    with pytest.raises(ImportError, match="cannot import name 'CosinLoss'"):
        exec("from insightface_cakd.losses import CosinLoss")


def test_editors_are_told_of_every_loss():
    assert {kind.__name__ for kind in LOSSES.values()} | {"DistillLoss", "LOSSES"} <= set(dir(losses))


def test_the_names_come_without_torch():
    code = "import sys; from insightface_cakd.losses import LOSSES; list(LOSSES); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_loop_of_ones_own_turns_the_student_to_the_teacher():
    torch.manual_seed(0)
    teacher, student, loss = nn.Linear(8, 4), nn.Linear(8, 4), CosineLoss()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    rows, values = torch.randn(64, 8), []
    for _ in range(200):
        value = loss(student(rows), teacher(rows))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[0] > 0.5
    assert values[-1] < 0.01
    assert all(weight.grad is None for weight in teacher.parameters())
