"""The losses of the unified receptive fields, on the shapes that they are given in a run."""

import numpy as np
import pytest
import torch

from insightface_cakd.distill.urfm import URFM, TokenGrid, URFMSpec
from insightface_cakd.errors import ShapeError
from insightface_cakd.losses import LOSSES

FIELDS = ["urfm_attention", "urfm_feature"]


def maps(batch=2, heads=3, centres=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, heads, centres, centres, generator=generator, dtype=torch.float64).softmax(-1)


def test_they_read_what_the_mapping_gives():
    urfm = URFM(URFMSpec(student="tap", width=16, centres=4), TokenGrid(3, 3), TokenGrid(4, 4), 5, 6, 7)
    outputs = urfm(torch.rand(2, 9, 5), torch.rand(2, 16, 6), embedding=torch.rand(2, 7))
    reads = {LOSSES[name].reads.removeprefix("urfm_"): name for name in [*FIELDS, "urfm_anchor"]}
    assert set(outputs) == {f"{side}.{key}" for side in ("student", "teacher") for key in reads}
    for key, name in reads.items():
        assert torch.isfinite(LOSSES[name]()(outputs[f"student.{key}"], outputs[f"teacher.{key}"]))


def test_the_mean_is_over_images_heads_and_entries():
    student, teacher = maps(seed=0), maps(seed=1)
    total = 0.0
    for image, head, row, column in np.ndindex(2, 3, 4, 4):
        total += (student[image, head, row, column].item() - teacher[image, head, row, column].item()) ** 2
    assert LOSSES["urfm_attention"]()(student, teacher).item() == pytest.approx(total / (2 * 3 * 4 * 4), rel=1e-12)


def test_by_hand():
    # One head, two centres: (1/2, 1/2) against (3/4, 1/4), and equal second rows: (2 / 16) / 4.
    student, teacher = torch.tensor([[[[0.5, 0.5], [1.0, 0.0]]]]), torch.tensor([[[[0.75, 0.25], [1.0, 0.0]]]])
    assert LOSSES["urfm_attention"]()(student, teacher).item() == 2 / 16 / 4
    # Fields (1, 2) against (1, 0), one of two centres.
    student, teacher = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[1.0, 0.0], [3.0, 4.0]]])
    assert LOSSES["urfm_feature"]()(student, teacher).item() == 1


@pytest.mark.parametrize("centres", [4, 49])
def test_attention_never_exceeds_two_over_the_number_of_centres(centres):
    first, last = torch.zeros(1, 1, centres, centres), torch.zeros(1, 1, centres, centres)
    first[..., 0], last[..., -1] = 1, 1
    assert LOSSES["urfm_attention"]()(first, last).item() == pytest.approx(2 / centres)


@pytest.mark.parametrize("name", FIELDS)
def test_both_sides_get_gradient_since_prompts_learn_from_the_teachers(name):
    student, teacher = maps(seed=0).requires_grad_(), maps(seed=1).requires_grad_()
    assert torch.autograd.gradcheck(LOSSES[name](), (student, teacher))
    LOSSES[name]()(student, teacher).backward()
    torch.testing.assert_close(student.grad, -teacher.grad)


def test_the_anchor_leaves_the_embedding_alone():
    told, embedding = (torch.randn(3, 5).requires_grad_() for _ in range(2))
    LOSSES["urfm_anchor"]()(told, embedding).backward()
    assert embedding.grad is None
    assert told.grad.abs().max() > 0


@pytest.mark.parametrize("name", FIELDS)
def test_another_number_of_centres_or_heads_is_refused_with_both_shapes(name):
    with pytest.raises(ShapeError, match=r"student \(2, 3, 4, 4\) vs teacher \(2, 2, 4, 4\); expected equal shapes"):
        LOSSES[name]()(maps(), maps(heads=2))
