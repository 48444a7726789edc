"""Counts of whole steps: by hand from the networks' layers, and equal to what real steps need."""

import pytest
import torch

from benchmarks.students import products
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.counts.operations import Operation, Operations
from insightface_cakd.experiments.cost.counts.parts import Parts
from insightface_cakd.experiments.cost.counts.prediction import Counts, Job, count, ratios
from insightface_cakd.experiments.cost.memory import peak_memory
from insightface_cakd.experiments.cost.steps import ALONE, ANCHOR, DISTILLATION, FORWARD, HeadSize, timed_runs
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe
from tests.ranks import run_ranks

CPU = torch.device("cpu")
FLOAT, WIDTH, BATCH, CLASSES = 4, 512, 4, 1000
IMAGES = BATCH * (3 * 112 * 112 * FLOAT + 8)


def job(recipe="cosine", student="cnn_tiny", **changes):
    return Job(
        load_recipe(recipe, ["teacher.network=vit_tiny"]), student, **{"batch": BATCH, "on_gpu": False, **changes}
    )


def tensors(name):
    network = get_model(name)
    return sum(one.numel() * one.element_size() for one in [*network.parameters(), *network.buffers()])


def parameters(name):
    return sum(one.numel() for one in get_model(name).parameters())


@pytest.mark.parametrize("student", ["cnn_tiny", "mbf_small"])
def test_a_student_s_backward_is_twice_its_forward_without_the_gradient_of_the_images(student):
    found = count(job(student=student), HeadSize())
    forward = 2 * BATCH * products(get_model(student))
    first = next(module for module in get_model(student).modules() if isinstance(module, torch.nn.Conv2d))
    assert found.flops("student", False) == forward
    assert found.flops("student", True) == 2 * forward - 2 * BATCH * 56 * 56 * first.weight.numel()


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_the_head_s_are_those_of_the_images_of_all_ranks_and_the_classes_of_one(rate):
    found = count(job(ranks=8), HeadSize(8 * CLASSES, rate))
    forward = 2 * 8 * BATCH * int(CLASSES * rate) * WIDTH
    assert (found.flops("head", False), found.flops("head", True)) == (forward, 2 * forward)


def test_a_frozen_teacher_has_no_backward_and_prompts_have_one():
    frozen, prompted = count(job(), HeadSize()), count(job("cakd"), HeadSize())
    assert frozen.flops("teacher", True) == 0
    assert prompted.flops("teacher", True) > 0.3 * frozen.flops("teacher", False)
    # With prompts and, for the anchors, without.
    assert prompted.flops("teacher", False) > 2 * frozen.flops("teacher", False)
    assert prompted.flops("method", False) > 0 == frozen.flops("method", False)


def test_what_stays_in_memory_by_hand():
    found = count(job(ranks=2), HeadSize(2 * CLASSES)).memory
    trained = FLOAT * parameters("cnn_tiny")
    centres = FLOAT * CLASSES * WIDTH
    assert found["class centres"] == centres
    assert found["optimiser"] == trained + centres
    # Not counted by hand: some scalars of the step.
    assert found["weights"] == pytest.approx(tensors("cnn_tiny") + tensors("vit_tiny") + IMAGES, abs=200)
    # DDP's buckets, at a peak before any gradient is there.
    assert found["gradients"] >= trained


def test_a_teacher_s_own_centres_are_class_centres_of_this_rank():
    assert count(job("kd", ranks=2), HeadSize(2 * CLASSES)).memory["class centres"] == 2 * FLOAT * CLASSES * WIDTH


def test_gradients_are_sent_around_a_ring():
    found = count(job(ranks=8), HeadSize(8 * CLASSES))
    assert found.sent("update") == 2 * FLOAT * parameters("cnn_tiny") * 7 // 8
    # Embeddings and labels to all, their gradients summed; largest, target and sum of each image's logits summed.
    assert found.sent("head") == 7 * BATCH * (WIDTH * FLOAT + 8) + 2 * 7 * BATCH * (WIDTH * FLOAT + 3 * FLOAT)
    assert found.sent("method") == 0
    assert sum(count(job(), HeadSize()).sent(part) for part in ("update", "head", "method")) == 0


@pytest.mark.parametrize(
    ("recipe", "student"),
    [
        ("cosine", "cnn_tiny"),
        ("gkd", "cnn_tiny"),
        ("urfm", "cnn_small"),
        ("cakd", "cnn_small"),
        ("cakd_vit_mbf", "mbf_small"),
    ],
)
def test_the_memory_of_a_step_is_what_a_step_with_data_takes(recipe, student):
    asked = job(recipe, student)
    step = timed_runs(asked.recipe, student, BATCH, CPU, "fp32")[DISTILLATION]
    step()
    found = count(asked, HeadSize()).memory
    assert found["gradients"] + found["activations"] == pytest.approx(peak_memory(step, CPU), rel=0.01)


def real_step(recipe, rate):
    """Return operations, bytes sent and peak memory of a step on this rank."""
    asked = job(recipe)
    step = timed_runs(asked.recipe, asked.student, BATCH, CPU, "fp32", HeadSize(2 * CLASSES, rate))[DISTILLATION]
    step()
    with Operations(Parts(), 2) as operations:
        step()
    return sum(one.flops for one in operations.done), sum(one.sent for one in operations.done), peak_memory(step, CPU)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1.0, 0.25])
@pytest.mark.parametrize("recipe", ["kd", "rkd", "cakd"])
def test_fake_ranks_count_what_real_ranks_do(recipe, rate):
    found = count(job(recipe, ranks=2), HeadSize(2 * CLASSES, rate))
    done = [one for one in found.operations[DISTILLATION] if one.name != "gradients"]
    buckets = FLOAT * sum(one.numel() for one in trained(recipe))
    for flops, sent, peak in run_ranks(real_step, 2, recipe, rate):
        assert sum(one.flops for one in done) == flops
        assert sum(one.sent for one in done) == sent
        assert found.memory["gradients"] - buckets + found.memory["activations"] == pytest.approx(peak, rel=0.01)


def trained(recipe):
    step = timed_runs(job(recipe).recipe, "cnn_tiny", BATCH, CPU, "fp32")[DISTILLATION]
    return [one for one in step.backbone.parameters() if one.requires_grad]


def test_on_a_gpu_the_teacher_computes_in_half_precision():
    def dtypes(on_gpu):
        found = count(job(on_gpu=on_gpu), HeadSize()).operations[DISTILLATION]
        return {one.dtype for one in found if one.part == "teacher" and one.name == "addmm"}

    assert (dtypes(False), dtypes(True)) == ({torch.float32}, {torch.bfloat16})


def test_a_bf16_student_keeps_half_of_its_activations():
    single, half = (
        count(job(student="mbf_small", precision=kind, batch=16), HeadSize()).memory for kind in ("fp32", "bf16")
    )
    assert half["activations"] < 0.7 * single["activations"]
    assert half["weights"] == single["weights"]


def test_on_a_gpu_fp16_costs_what_bf16_does():
    half, brain = (count(job(on_gpu=True, precision=kind), HeadSize()) for kind in ("fp16", "bf16"))
    assert half == brain


def test_ratios_are_over_student_and_teacher_and_over_these_and_the_anchors():
    assert ratios({ALONE: 3.0, FORWARD: 1.0, DISTILLATION: 5.0}) == {"floor": 1.25}
    assert list(ratios({ALONE: 3.0, FORWARD: 1.0, ANCHOR: 1.0, DISTILLATION: 5.0}).values()) == [1.25, 1.0]


def test_time_is_the_sum_over_the_operators_of_a_call():
    class Rates:
        def seconds(self, operation, ranks):
            return operation.flops * ranks

    operation = Operation("student", False, "mm", "matrices", torch.float32, flops=3)
    assert Counts({ALONE: [operation, operation]}, {}).seconds(Rates(), 2) == {ALONE: 12}


@pytest.mark.parametrize(
    ("recipe", "head", "message"),
    [
        ("coupleface", HeadSize(), r"^cost: term 'relation_aware' reads prototypes, .* Time it with `cakd bench`\.$"),
        (
            "cosine",
            HeadSize(1000, 0.1),
            r"^cost: 1000 classes at sample rate 0\.1 are 12 a rank, fewer than the 32 images .* Raise --sample-rate or --classes\.$",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(recipe, head, message):
    with pytest.raises(RunError, match=message):
        count(job(recipe, ranks=8), head)


def test_for_a_gpu_logits_are_cut_as_there_so_that_millions_of_classes_can_be_counted():
    """A CPU's blocks fit its cache: thousands of operators at a million classes a rank."""
    sizes = HeadSize(2 * 1_000_000)
    found = [len(count(job("gkd", ranks=2, on_gpu=on_gpu), sizes).operations[DISTILLATION]) for on_gpu in (True, False)]
    assert found[1] > 4 * found[0]
