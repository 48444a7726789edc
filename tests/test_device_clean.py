"""No step of any shipped recipe mixes devices or waits for one: shown on tensors without data, for lack of a GPU."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from insightface_cakd.errors import CAKDError
from insightface_cakd.experiments.cost.counts.no_data import OURS, NoData, ranks_that_answer_nothing
from insightface_cakd.experiments.cost.steps import CLASSES, DISTILLATION, timed_runs
from insightface_cakd.losses.cosine import CosineLoss
from insightface_cakd.recipe import recipe_name, shipped_recipes
from tests.small_networks import with_small_networks

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
BATCH = 4


def step_of(recipe):
    """Return a recipe's training step on the CPU, with a small student that it fits."""
    loaded, student = with_small_networks(recipe)
    return timed_runs(loaded, student, BATCH, CPU, "fp32")[DISTILLATION]


def on_fakes(step, device):
    """Take the data from a step that was built on the CPU."""
    return NoData().taken([step], device, (*OURS, "tests"))


RECIPES = list(map(recipe_name, shipped_recipes()))


@pytest.fixture
def no_driver(monkeypatch):
    """Replace what needs a driver: a gradient within a forward, whose value does not matter, and marks of time."""

    def grad(outputs, inputs, *_, **__):
        return tuple(torch.empty_like(one) for one in (inputs if isinstance(inputs, list | tuple) else [inputs]))

    event = SimpleNamespace(record=lambda _: None, query=lambda: False)
    monkeypatch.setattr(torch.autograd, "grad", grad)
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)


@pytest.fixture
def ranks():
    """Eight ranks, of which this is the first and the others answer nothing."""
    with ranks_that_answer_nothing(8):
        yield 8


def in_precision(step, precision):
    """Set the precision of a step's student."""
    step.precision = precision
    for module in step.backbone.modules():
        if hasattr(module, "fp16"):
            module.fp16 = precision == "fp16"


@pytest.mark.parametrize("recipe", RECIPES)
def test_all_of_a_step_is_on_the_device_in_every_precision(recipe, no_driver):
    step = step_of(recipe)
    with on_fakes(step, "cuda"):
        for precision in ("fp32", "bf16", "fp16"):
            in_precision(step, precision)
            for _ in range(2):
                loss = step.loss()
                assert (loss.device.type, loss.dtype) == ("cuda", torch.float32), precision


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_in_a_step_asks_for_a_value(recipe):
    step = step_of(recipe)
    with on_fakes(step, "cpu"):
        for _ in range(2):
            step()
        # The steps went to their ends: the optimiser has a momentum.
        assert step.optimizer.state


@pytest.mark.parametrize("recipe", RECIPES)
def test_nor_with_a_sampled_head_on_eight_ranks(recipe, ranks, no_driver):
    step = step_of(recipe)
    if hasattr(step.head, "num_sample"):
        assert step.head.num_local == CLASSES // ranks
        step.head.sample_rate, step.head.num_sample = 0.5, step.head.num_local // 2
    with on_fakes(step, "cuda"):
        for _ in range(2):
            assert step.loss().device.type == "cuda"


class Reads(CosineLoss):
    """A loss that asks for its value."""

    def compute(self, student, teacher, labels):
        value = super().compute(student, teacher, labels)
        return value * (1 if value.item() > 0 else 2)


class Elsewhere(CosineLoss):
    """A loss with a constant on the CPU."""

    def compute(self, student, teacher, labels):
        return super().compute(student + torch.ones(1, student.shape[1]), teacher, labels)


class Picks(CosineLoss):
    """A loss over the rows that a mask chooses, of which there may be any number."""

    def compute(self, student, teacher, labels):
        chosen = (student[:, 0] > 0).nonzero()
        return super().compute(student[chosen[:, 0]], teacher[chosen[:, 0]], labels)


@pytest.mark.parametrize(
    ("loss", "device"), [(Reads, "cpu"), (Reads, "cuda"), (Elsewhere, "cuda"), (Picks, "cuda"), (Picks, "cpu")]
)
def test_a_fault_is_found(loss, device, tmp_path, no_driver):
    path = tmp_path / "faulty.yaml"
    path.write_text(
        f"teacher: {{network: vit_tiny}}\nlosses: [{{loss: 'tests.test_device_clean:{loss.__name__}', weight: 1}}]\n"
    )
    step = step_of(str(path))
    with (
        on_fakes(step, device),
        pytest.raises((CAKDError, RuntimeError, DynamicOutputShapeException, DataDependentOutputException)),
    ):
        step.loss()
