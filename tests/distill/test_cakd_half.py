"""CAKD under bfloat16 autocast: the teacher, the fields and the losses keep float32, and gradients stay near those of float32."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from insightface_cakd.distill.sources import build_sources
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.teachers import PromptedTeacher
from insightface_cakd.teachers.prompts import PromptSpec

WIDTH = 64
TERMS = {"urfm_attention": 100, "urfm_feature": 10, "urfm_anchor": 10, "prompt_anchor": 10, "cosine": 64}
# Lowest cosine with the gradients of float32; a deep student's own layers lose more than the fields do.
NEAR = {"backbone": 0.9, "urfm": 0.99, "prompts": 0.99}
PAIRS = [
    ("vit_tiny", "cnn_tiny", "layer4"),
    ("swin_tiny", "mbf", "conv_sep"),
    pytest.param("vit_t", "mbf", "conv_sep", marks=pytest.mark.slow),
    pytest.param("swin_tiny", "r18", "layer4", marks=pytest.mark.slow),
]


def one_step(teacher, network, tap, half):
    """Return the raw terms, what the teacher said, and the gradient of every parameter, after one step of 8 images."""
    torch.manual_seed(0)
    frozen = PromptedTeacher(get_model(teacher, num_features=WIDTH), teacher, WIDTH, "cpu", PromptSpec(tokens=2))
    urfm = {"student": tap, "centres": 9, "width": 32, "heads": 4}
    losses = [{"loss": name, "weight": weight} for name, weight in TERMS.items()]
    recipe = parse_recipe({"teacher": {"network": teacher, "prompts": {}}, "urfm": urfm, "losses": losses}, "recipe")
    sources = build_sources(recipe, {"teacher": frozen})
    student = DistilledStudent(get_model(network, num_features=WIDTH), {"teacher": frozen}, sources).train()
    step = DistillationStep(recipe.losses, sources)
    images = torch.rand(8, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        embedding, features = student(images)
        total = step(features, torch.zeros(8, dtype=torch.int64))
    total.backward()
    gradients = {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}
    return {"margin": embedding.detach(), **step.raw, "total": total.detach()}, features, gradients


def groups(gradients):
    """Return the gradient of student, mapping and prompts, each as one row."""
    parts = {"backbone": [], "urfm": [], "prompts": []}
    for name, gradient in gradients.items():
        parts[name.removeprefix("method.").split(".")[0]].append(gradient.flatten())
    return {part: torch.cat(rows) for part, rows in parts.items()}


@pytest.mark.parametrize(("teacher", "network", "tap"), PAIRS)
def test_a_step_under_autocast_is_a_step_without_up_to_bfloat16(teacher, network, tap):
    expected, plain, full = one_step(teacher, network, tap, half=False)
    found, features, half = one_step(teacher, network, tap, half=True)
    assert {value.dtype for value in [*found.values(), *features.values(), *half.values()]} == {torch.float32}
    assert full.keys() == half.keys()
    assert all(torch.isfinite(gradient).all() for gradient in half.values())
    for name in TERMS:
        torch.testing.assert_close(
            found[name], expected[name], rtol=0.05, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    # What the teacher says does not depend on the loop's autocast.
    assert torch.equal(features["teacher.embedding"], plain["teacher.embedding"])
    assert torch.equal(features["urfm.teacher.fields"], plain["urfm.teacher.fields"])
    for (part, ours), theirs in zip(groups(half).items(), groups(full).values(), strict=True):
        assert cosine_similarity(ours, theirs, dim=0) > NEAR[part], part
        assert float(ours.norm() / theirs.norm()) == pytest.approx(1, rel=0.1), part
