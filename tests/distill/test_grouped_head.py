"""GKD through student and head: sharded, sampled, over several ranks, against the logits of all sampled classes at once."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.losses.gkd import GroupedLoss
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests import group_oracles
from tests.ranks import RANKS, run_ranks
from tests.toy import (
    WIDTH,
    Toy,
    of_ranks,
    teacher_file,
    toy_batch,
    toy_centres,
    toy_head,
    toy_host,
    toy_teacher,
    toy_teachers,
)

CLASSES = 31
MARGIN = 0.4
GROUPINGS = {"fixed": {"size": 4}, "adaptive": {"step": 3}, "per_sample": {"share": 0.6}}


def build(folder, grouping, sample_rate):
    term = {"loss": "gkd", "weight": 2, "grouping": grouping, **GROUPINGS[grouping]}
    recipe = parse_recipe(
        {"teacher": {"network": "toy", "centres": [teacher_file(folder, CLASSES)]}, "losses": [term]}, "recipe"
    )
    torch.manual_seed(0)
    host = toy_host()
    distillation = seam.install(host, recipe, toy_teachers())
    student = host.get_model("toy", num_features=WIDTH).train()
    return student, toy_head(host, CLASSES, (1.0, 0.0, MARGIN), sample_rate), distillation


def trained_both(folder):
    return {sample_rate: trained(folder, sample_rate) for sample_rate in (1.0, 0.7)}


def trained(folder, sample_rate):
    """Return by grouping: loss, raw value, this rank's classes of the step, gradients of the student and of those classes' rows."""
    found = {}
    for grouping in GROUPINGS:
        student, head, distillation = build(folder, grouping, sample_rate)
        wrapped = of_ranks(student)
        images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
        torch.manual_seed(7 + rank())  # ranks sample different rows
        loss = head(wrapped(images), labels)
        loss.backward()
        index = head.weight_index if sample_rate < 1 else torch.arange(head.num_local)
        gradients = [value.grad for name, value in student.named_parameters() if name.startswith("backbone.")]
        raw = distillation.step.raw["gkd"]
        found[grouping] = (loss.detach(), raw, head.class_start + index, gradients, head.weight.grad[index])
    return found


def whole(sampled, grouping):
    """Return loss, raw value and gradients on the logits of all sampled classes at once."""
    torch.manual_seed(0)
    student, rows = Toy(), toy_centres(CLASSES, seed=3)[sampled].requires_grad_()
    images, labels = toy_batch(CLASSES)
    columns = torch.searchsorted(sampled, labels).view(-1, 1)
    margin = CombinedMarginLoss(64, 1.0, 0.0, MARGIN)
    pairs = ((student(images), rows), (toy_teacher()(images), toy_centres(CLASSES, seed=5)[sampled]))
    ours, theirs = (margin(normalize(x) @ normalize(w).T, columns) for x, w in pairs)
    raw = GroupedLoss(grouping, **GROUPINGS[grouping])(ours, theirs, columns)
    arrays = (ours.detach().double().numpy(), theirs.double().numpy(), columns.view(-1).numpy())
    assert float(raw.detach()) == pytest.approx(
        group_oracles.gkd(*arrays, grouping, **GROUPINGS[grouping]), rel=1e-4, abs=1e-4
    )
    loss = cross_entropy(ours, columns.view(-1)) + 2 * raw
    loss.backward()
    return loss.detach(), raw.detach(), [value.grad for value in student.parameters()], rows.grad


@pytest.mark.parametrize("world", [1, *RANKS, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_with_their_own_sampled_classes_equal_the_whole_matrix(world, tmp_path):
    results = run_ranks(trained_both, world, tmp_path) if world > 1 else [trained_both(tmp_path)]
    for sample_rate in (1.0, 0.7):
        for grouping in GROUPINGS:
            found = [result[sample_rate][grouping] for result in results]
            sampled = torch.cat([classes for _, _, classes, _, _ in found])
            assert (len(sampled) < CLASSES) == (sample_rate < 1)
            compare(found, whole(sampled, grouping))


def compare(results, expected):
    loss, raw, gradients, rows = expected
    for ours, theirs, _, found, _ in results:
        torch.testing.assert_close(ours, loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(theirs, raw, rtol=1e-5, atol=0)
        for gradient, wanted in zip(found, gradients, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    ours = torch.cat([gradient for *_, gradient in results])
    torch.testing.assert_close(ours, rows, rtol=0, atol=1e-5 * float(rows.abs().max()))
