"""The weight of a term over a run: equations, lengths as the hosts plan them, and what a schedule must be told."""

import math
from types import SimpleNamespace

import pytest

from insightface_cakd.distill.plan import RunPlan, planned_length
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.schedule import Length, ScheduleSpec, factor
from insightface_cakd.tasks import seam
from tests.toy import toy_host, toy_teachers

RUN = Length(epoch=4, epochs=20)


def factors(schedule, steps, length=RUN):
    spec = ScheduleSpec.model_validate(schedule)
    return [factor(spec, step, length) for step in steps]


def test_the_default_and_its_name_are_constant():
    assert ScheduleSpec() == ScheduleSpec.model_validate("constant")
    assert factors("constant", range(3), None) == [1, 1, 1]


def test_linear_rises_from_0_by_steps_or_by_epochs():
    assert factors({"kind": "linear", "steps": 4}, range(6), None) == [0, 0.25, 0.5, 0.75, 1, 1]
    assert factors({"kind": "linear", "epochs": 2}, range(10)) == [0, *(i / 8 for i in range(1, 8)), 1, 1]
    assert factors({"kind": "linear", "epochs": 0.5}, range(4)) == [0, 0.5, 1, 1]


def test_by_epoch_is_gkds_warm_up():
    """0, 0.5, 1, 1 in epochs 0, 5, 10, 15, the same in all steps of an epoch."""
    steps = [epoch * RUN.epoch + step for epoch in (0, 5, 10, 15) for step in (0, 3)]
    assert factors({"kind": "by_epoch", "epochs": 10}, steps) == [0, 0, 0.5, 0.5, 1, 1, 1, 1]
    assert factors("by_epoch", steps) == factors({"kind": "by_epoch", "epochs": 10}, steps)


def test_cosine_is_half_a_cosine_over_the_run():
    assert factors("cosine", [0, 40, 80, 81]) == pytest.approx([1, 0.5, 0, 0], abs=1e-15)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * step / 80)) / 2 for step in range(80)]
    assert factors({"kind": "cosine", "to": 0.2}, range(80)) == pytest.approx(expected)
    assert factors({"kind": "cosine", "to": 3.0}, [0, 80]) == pytest.approx([1, 3])


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_length_is_what_arcface_torch_plans(ranks):
    cfg = SimpleNamespace(num_image=49, batch_size=8, num_epoch=3)
    length = planned_length(cfg, ranks)
    assert (length.epoch, length.total) == (49 // (8 * ranks), 49 // (8 * ranks) * 3)


def test_a_plan_without_a_step_is_refused():
    cfg = SimpleNamespace(num_image=7, batch_size=8, num_epoch=3)
    with pytest.raises(RunError, match="num_image is 7 for 1 x 8 images a step.*Set num_image"):
        planned_length(cfg, 1)


@pytest.mark.parametrize("schedule", ["by_epoch", "cosine", {"kind": "linear", "epochs": 1}])
def test_a_loop_that_does_not_say_its_length_is_refused_where_a_schedule_needs_it(schedule):
    content = {"teacher": {"network": "toy"}, "losses": [{"loss": "cosine", "weight": 1, "schedule": schedule}]}
    recipe = parse_recipe(content, "recipe")
    assert recipe.needs_length
    with pytest.raises(RecipeError, match=r"of term 'cosine' needs the length of the run.*kind: linear, steps: N"):
        seam.install(toy_host(), recipe, toy_teachers())
    seam.install(toy_host(), recipe, toy_teachers(), plan=RunPlan(RUN))


def test_a_loop_needs_no_length_otherwise():
    content = {"teacher": {"network": "toy"}, "losses": [{"loss": "cosine", "weight": 1}]}
    content["losses"][0]["schedule"] = {"kind": "linear", "steps": 9}
    recipe = parse_recipe(content, "recipe")
    assert not recipe.needs_length
    seam.install(toy_host(), recipe, toy_teachers())
