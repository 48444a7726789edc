"""A distilled head around a few embeddings, without a student, and toy runs with one."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.head import distilled_head
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.sources import Setting, Source
from insightface_cakd.distill.sources.centres import RULES
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.recipe import Recipe, parse_recipe
from insightface_cakd.recipe.head import HeadSpec
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from insightface_cakd.teachers import Teacher
from insightface_cakd.teachers.centres import ClassCentres
from tests.toy import WIDTH, of_ranks, teacher_file, toy_batch, toy_centres, toy_host, toy_teachers

CLASSES = 11
HEADS = {
    "frozen": {"centres": "teacher"},
    "quality": {"centres": "teacher", "margin": "quality"},
    "average": {"centres": "average"},
    "simple": {"centres": "average", "alpha": "simple"},
    "geometry": {"centres": "average", "geometry": 1.0},
}


@dataclass(frozen=True)
class GivenCentres(Setting):
    """Gives the teacher's class centres from memory."""

    centres: Tensor | None = None

    def load_centres(self) -> ClassCentres:
        assert self.centres is not None
        return ClassCentres([self.centres])


def rule_of(kind: str, width: int, centres: Tensor | None = None, **options) -> Source:
    """Return the rule of one of `HEADS`, with options of its own, for a teacher of a width with (classes, D) centres."""
    recipe = Recipe(teacher=TeacherSpec(network="toy"), head=HeadSpec(**HEADS[kind], **options))
    setting = GivenCentres(recipe, {"teacher": Teacher(nn.Identity(), "toy", width, "cpu")}, centres=centres)
    (rule,) = [rule for rule in RULES if rule.takes_part(setting)]
    return rule(setting)


def small_head(rule: Source, size: tuple[int, int], start: Tensor | None = None, scale: float = 4):
    """Return a head of the embedded host under a rule, arc margin 0.45, with (classes, D) rows, and what it shares."""
    distillation = Distillation(DistillationStep([]), Monitor(None), [rule])
    head = distilled_head(PartialFC_V2, distillation)(CombinedMarginLoss(scale, 1.0, 0.45, 0.0), size[1], size[0])
    if start is not None:
        head.weight.data.copy_(start)
    return head.train(), distillation


def seen(students: Tensor, teachers: Tensor):
    """Return what a student hands to its head."""
    return students, {"student.embedding": students, "teacher.embedding": teachers}


def toy_run(kind: str, folder: Path, sample_rate: float = 1.0):
    """Return student, head and what they share, as a training loop would build them, from one seed."""
    head = HEADS[kind]
    centres = [teacher_file(folder, CLASSES)] if head["centres"] == "teacher" else []
    host = toy_host()
    recipe = parse_recipe({"teacher": {"network": "toy", "centres": centres}, "head": head}, "recipe")
    torch.manual_seed(0)
    distillation = seam.install(host, recipe, toy_teachers())
    student = host.get_model("toy", num_features=WIDTH).train()
    margin = host.CombinedMarginLoss(64, 1.0, 0.5, 0.0)
    head = host.PartialFC_V2(margin, WIDTH, CLASSES, sample_rate, False).train()
    if not centres:
        head.weight.data.copy_(toy_centres(CLASSES, seed=3)[head.class_start : head.class_start + head.num_local])
    return student, head, distillation


def toy_steps(kind: str, folder: Path, sample_rate: float = 1.0, steps: int = 3):
    """Train on this rank's share of one batch; return losses, logged values, the last gradients, and this rank's rows."""
    student, head, distillation = toy_run(kind, folder, sample_rate)
    wrapped = of_ranks(student)
    groups = [{"params": list(student.parameters())}, {"params": list(head.parameters())}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.1)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    losses, logged = [], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = head(wrapped(images), labels)
        loss.backward()
        gradients = {name: value.grad.clone() for name, value in student.named_parameters()}
        optimizer.step()
        losses.append(float(loss.detach()))
        logged.append({name: float(value) for name, value in distillation.step.raw.items()})
    return losses, logged, gradients, head.weight.detach().clone()
