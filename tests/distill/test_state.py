"""What a method keeps in a checkpoint: the place in its schedules, when an epoch has another number of steps."""

import pytest
import torch

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.state import load_method_state, method_state
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.recipe.schedule import Length


def method(steps: int, done: int = 0) -> Distillation:
    """Return a method of a run with a number of steps in an epoch, some of them done."""
    step = DistillationStep([], [], Length(steps, 8))
    step.step = done
    return Distillation(step, Monitor(None))


@pytest.mark.parametrize(("before", "done", "after", "step"), [(10, 20, 5, 10), (5, 10, 10, 20), (6, 15, 4, 10)])
def test_a_step_is_that_of_the_same_place_in_an_epoch(before, done, after, step):
    there = method(after)
    load_method_state(there, method_state(method(before, done)))
    assert there.step.step == step


def test_a_state_without_the_length_of_an_epoch_keeps_its_step():
    there = method(10)
    load_method_state(there, {"cakd.step": torch.tensor(7)})
    assert there.step.step == 7
