"""What learns from which loss: the default lets the two losses reach no parameter that makes their target."""

import pytest
import torch
from torch import nn

from insightface_cakd.distill.urfm import URFM, TokenGrid, URFMSpec
from insightface_cakd.runtime.ranks import rank, world_size
from tests.distill.urfm.small import BASE, EMBEDDING, build, inputs, losses, run
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding


@pytest.mark.parametrize("stop", ["mapping", "teacher", "none"])
def test_both_losses_are_zero_when_both_sides_have_the_same_tokens_and_projections(stop):
    torch.manual_seed(0)
    urfm = URFM(URFMSpec(**BASE, stop_gradient=stop), TokenGrid(3, 3), TokenGrid(3, 3), 5, 5, EMBEDDING)
    side = urfm.local.parts["input"]
    side["student"].load_state_dict(side["teacher"].state_dict())
    tokens = torch.randn(4, 9, 5)
    student, teacher = (tokens.clone().requires_grad_() for _ in range(2))
    found = losses(run(urfm, student, teacher, torch.randn(4, EMBEDDING)))
    assert found["urfm_attention"].item() == 0
    assert found["urfm_feature"].item() == 0


def learners(urfm, names, prompts):
    """Return which parts get gradient from the named losses; `prompts` makes the teacher's tokens learn."""
    student, teacher, embedding = inputs(urfm)
    student.requires_grad_()
    teacher.requires_grad_(prompts)
    found = losses(run(urfm, student, teacher, embedding))
    sum(found[name] for name in names).backward()
    moved = {"student tokens": student.grad, "teacher tokens": teacher.grad}
    moved |= {name: weight.grad for name, weight in urfm.named_parameters()}
    kinds = {"student tokens": "student", "teacher tokens": "prompts"}
    got = {name for name, gradient in moved.items() if gradient is not None and gradient.abs().max() > 0}
    return {
        kinds.get(n) or next((k for k in ("student", "teacher", "shared") if f".{k}." in n), "readout") for n in got
    }


@pytest.mark.parametrize("prompts", [False, True])
@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("mapping", {"student", "prompts"}),
        ("teacher", {"student", "shared"}),
        ("none", {"student", "shared", "teacher", "prompts"}),
    ],
)
def test_what_the_two_losses_reach(stop, expected, prompts):
    reached = learners(build(stop_gradient=stop), ["urfm_attention", "urfm_feature"], prompts)
    assert reached == (expected if prompts else expected - {"prompts"})


@pytest.mark.parametrize("shared", ["centres", "none"])
def test_parts_of_the_students_own_learn_though_the_teachers_are_held(shared):
    assert learners(build(shared=shared), ["urfm_attention", "urfm_feature"], False) == {"student"}


@pytest.mark.parametrize("stop", ["mapping", "teacher", "none"])
def test_the_anchor_reaches_what_makes_the_teachers_fields_and_nothing_of_the_student(stop):
    assert learners(build(stop_gradient=stop), ["urfm_anchor"], False) == {"shared", "teacher", "readout"}
    assert "prompts" in learners(build(stop_gradient=stop), ["urfm_anchor"], True)


def test_what_is_held_changes_gradients_and_no_value():
    found = [run(urfm, *inputs(urfm)) for urfm in (build(stop_gradient=s) for s in ("mapping", "teacher", "none"))]
    urfm = build()
    student, teacher, embedding = inputs(urfm)
    found.append(run(urfm, student, teacher.requires_grad_(), embedding))
    for other in found[1:]:
        assert all(torch.equal(other[key], value) for key, value in found[0].items())


def gradients():
    """Return the gradients of the losses on this rank's images, averaged as DDP does."""
    urfm = build()
    wrapped = nn.parallel.DistributedDataParallel(urfm, static_graph=True) if world_size() > 1 else urfm
    student, teacher, embedding = (x.chunk(world_size())[rank()] for x in inputs(urfm, batch=6))
    outputs = wrapped(student, teacher.requires_grad_(), embedding=embedding)
    sum(losses(outputs).values()).backward()
    return {name: weight.grad for name, weight in urfm.named_parameters()}


@pytest.mark.slow
def test_two_ranks_have_the_gradients_of_one_process_on_the_joined_batch():
    expected = gradients()
    for found in run_ranks(gradients, 2):
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name)
