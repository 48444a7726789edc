"""GKD through student and head: sharded, sampled, over several ranks, with the column of each sample's class."""

import pytest
import torch
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from insightface_cakd import seam
from insightface_cakd.distill import head as distill_head
from insightface_cakd.losses.gkd import GroupedLoss
from insightface_cakd.ranks import rank, world_size
from insightface_cakd.recipe import parse_recipe
from tests.ranks import run_ranks
from tests.toy import WIDTH, toy_host, toy_teacher

CLASSES = 31  # not a multiple of any number of ranks
BATCH = 12
GROUPINGS = {
    "per_sample": {"grouping": "per_sample", "tau": 0.6},
    "fixed": {"grouping": "fixed", "size": 5},
    "adaptive": {"grouping": "adaptive", "step": 3},
}
MANY = [pytest.param(world, marks=pytest.mark.slow) for world in (3, 4)]


def build(grouping, folder, sample_rate=1.0):
    path = folder / f"head{rank()}.pt"
    torch.save({"weight": torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(5))}, path)
    term = {"loss": "gkd", "weight": 1, "secondary": 0.25, **GROUPINGS[grouping]}
    content = {"teacher": {"network": "toy", "centres": [str(path)]}, "losses": [term]}
    host = toy_host()
    torch.manual_seed(0)
    distillation = seam.install(host, parse_recipe(content, "recipe"), toy_teacher())
    student = host.get_model("toy", num_features=WIDTH).train()
    margin = host.CombinedMarginLoss(64, 1.0, 0.0, 0.4)
    head = host.PartialFC_V2(margin, WIDTH, CLASSES, sample_rate, False).train()
    rows = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(3))
    head.weight.data.copy_(rows[head.class_start : head.class_start + head.num_local])
    return student, head, distillation


def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(BATCH, 3, 112, 112, generator=generator) * 2 - 1
    return images, torch.randint(0, CLASSES, (BATCH,), generator=generator)


def gradients(folder):
    """Return by grouping the raw value, the student's gradients and those of this rank's class centres."""
    found = {}
    for grouping in GROUPINGS:
        student, head, distillation = build(grouping, folder)
        wrapped = student
        if world_size() > 1:
            wrapped = DistributedDataParallel(student, broadcast_buffers=False, find_unused_parameters=True)
            wrapped._set_static_graph()
        images, labels = (part.chunk(world_size())[rank()] for part in batch())
        head(wrapped(images), labels).backward()
        raw = distillation.step.raw["gkd"]
        found[grouping] = (raw, {name: value.grad for name, value in student.named_parameters()}, head.weight.grad)
    return found


@pytest.mark.parametrize("world", [2, *MANY])
def test_several_ranks_with_their_own_classes_equal_one_process(world, tmp_path):
    expected = gradients(tmp_path)
    results = run_ranks(gradients, world, tmp_path)
    for grouping, (value, student, centres) in expected.items():
        scale = max(1.0, *(float(gradient.abs().max()) for gradient in student.values()))
        for result in results:
            raw, found, _ = result[grouping]
            assert float(raw) == pytest.approx(float(value), rel=1e-5)
            for name, gradient in student.items():
                torch.testing.assert_close(found[name], gradient, rtol=0, atol=2e-6 * scale, msg=f"{grouping} {name}")
        rows = torch.cat([result[grouping][2] for result in results])
        torch.testing.assert_close(rows, centres, rtol=1e-4, atol=1e-5, msg=grouping)


def seen(grouping, folder, sample_rate):
    """Return the raw value, the global classes of this rank's columns, both sides' logits there, and their columns of the classes."""
    student, head, distillation = build(grouping, folder, sample_rate)
    kept, add_logits = {}, distill_head.add_logits

    def keeping(head, distillation, features, terms):
        add_logits(head, distillation, features, terms)
        kept.update({name: features[name].detach().clone() for name in ("gkd.student", "gkd.teacher", "columns")})

    distill_head.add_logits = keeping
    try:
        torch.manual_seed(rank())
        images, labels = (part.chunk(world_size())[rank()] for part in batch())
        head(student(images), labels)
    finally:
        distill_head.add_logits = add_logits
    everywhere = torch.arange(head.num_local)
    classes = head.class_start + (head.weight_index if sample_rate < 1 else everywhere)
    return distillation.step.raw["gkd"], classes, kept


def seen_of_each(folder):
    return {(name, rate): seen(name, folder, rate) for name in GROUPINGS for rate in (0.4, 1.0)}


@pytest.mark.parametrize("world", [1, 2, *MANY])
def test_equals_the_loss_of_all_columns_joined_also_where_each_rank_samples_its_own(world, tmp_path):
    every = run_ranks(seen_of_each, world, tmp_path)
    for grouping, sample_rate in every[0]:
        results = [found[grouping, sample_rate] for found in every]
        classes = torch.cat([found for _, found, _ in results])
        assert len(classes) == len(classes.unique())
        assert (len(classes) < CLASSES) == (sample_rate < 1)
        whole = [torch.cat([kept[f"gkd.{side}"] for *_, kept in results], dim=1) for side in ("student", "teacher")]
        _, labels = batch()
        columns = (classes == labels.view(-1, 1)).int().argmax(1, keepdim=True)
        expected = GroupedLoss(secondary=0.25, **GROUPINGS[grouping])(*whole, columns)
        for value, _, kept in results:
            assert kept["columns"].shape == (BATCH, 1)
            assert float(value) == pytest.approx(float(expected), rel=1e-5)
        owners = torch.cat([kept["columns"] >= 0 for *_, kept in results], dim=1)
        assert owners.sum(1).tolist() == [1] * BATCH


def test_the_teachers_logits_are_those_of_its_own_centres_with_the_margin(tmp_path):
    _, _, kept = seen("fixed", tmp_path, 1.0)
    images, labels = batch()
    centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(5))
    cosines = normalize(toy_teacher()(images)) @ normalize(centres).T
    expected = 64 * (cosines - 0.4 * torch.nn.functional.one_hot(labels, CLASSES))
    torch.testing.assert_close(kept["gkd.teacher"], expected, rtol=1e-4, atol=1e-4)
