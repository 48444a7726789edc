"""The calls that `cakd bench` times."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from insightface_cakd import __version__
from insightface_cakd.data.embedding_cache import STORAGES, CacheMeta, EmbeddingCache, image_hash
from insightface_cakd.data.prototypes import PrototypesMeta, save_prototypes
from insightface_cakd.distill.plan import RunPlan
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.readings import reading
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.tasks.known import task_of
from insightface_cakd.tasks.seam import install
from insightface_cakd.tasks.task import Task
from insightface_cakd.teachers import PromptedTeacher, Teacher
from insightface_cakd.teachers.build import untrained_teacher
from insightface_cakd.teachers.cached import CachedEmbeddings

Precision = Literal["fp32", "bf16", "fp16"]
Run = Callable[[], object]
CLASSES = 1000
NEAREST = 100
WIDTH = 512
ALONE = "student step"
FORWARD = "teacher forward"
LEARNING = "teacher forward, backward to prompts"
ANCHOR = "plain embeddings for anchors"
DISTILLATION = "distillation step"
# That of arcface_torch's configs.
WEIGHT_DECAY = 5e-4


@dataclass(frozen=True)
class HeadSize:
    """How large the head of a step is.

    Args:
        classes: of all ranks.
        sample_rate: share of them that a step uses.
    """

    classes: int = CLASSES
    sample_rate: float = 1.0


class Maker(Protocol):
    """Makes what of a step may be too large to have."""

    head: type[nn.Module]

    def network(self, build: Callable[[], nn.Module]) -> nn.Module:
        """Return the network that a function builds."""

    def tensor(self, *shape: int) -> Tensor:
        """Return random numbers."""


class WithData:
    """Makes everything as it is in a run."""

    head: type[nn.Module] = PartialFC_V2

    def network(self, build: Callable[[], nn.Module]) -> nn.Module:
        """Build a network."""
        return build()

    def tensor(self, *shape: int) -> Tensor:
        """Draw normal random numbers."""
        return torch.randn(*shape)


def timed_runs(
    recipe: Recipe,
    student: str,
    batch: int,
    device: torch.device,
    precision: Precision,
    head: HeadSize | None = None,
    maker: Maker | None = None,
) -> dict[str, Run]:
    """Return the calls by name, in the order of timing.

    They are: the student's step; the teacher's forward, with prompts forward and backward to the prompts; if anchors need
    them, the teacher's embeddings without prompts, by another forward or with `prompts.plain` by a look-up in a cache,
    which here is in memory and has one batch; the distillation step. Where no size of the head is given, it has 1,000 classes and uses all.
    """
    size, makes = head or HeadSize(), maker or WithData()
    if precision == "fp16" and device.type != "cuda":
        raise RunError(
            f"bench: --training-precision fp16 on {device.type}; the hosts compute in float16 on CUDA only. Use fp32 or bf16."
        )
    images = torch.randint(0, 256, (batch, 3, 112, 112), device=device) / 127.5 - 1
    labels = torch.randint(0, size.classes, (batch,), device=device)
    specs = recipe.named_teachers.items()
    teachers = {name: untrained_teacher(spec, get_model, WIDTH, device, makes.network) for name, spec in specs}
    for teacher in teachers.values():
        if precision == "bf16":
            teacher.compute_in_half()
        if isinstance(teacher, PromptedTeacher) and teacher.spec.plain is not None:
            teacher.remembered = _remember(teacher, images)

    def made(name: str, **options: Any) -> nn.Module:
        return makes.network(lambda: get_model(name, **options))

    host: Any = SimpleNamespace(get_model=made, CombinedMarginLoss=CombinedMarginLoss, PartialFC_V2=makes.head)
    runs: dict[str, Run] = {ALONE: TrainingStep(host, student, images, labels, precision, size)}
    runs |= _teaching(recipe, list(teachers.values()), images)
    task = task_of(recipe)
    target = task.target(batch, WIDTH)
    _install(host, recipe, teachers, task, size.classes, makes)
    target = labels if target is None else target.to(device)
    runs[DISTILLATION] = TrainingStep(host, student, images, target, precision, size)
    for teacher in teachers.values():
        # A head has taken its own rows of them.
        teacher.centres = None
    return runs


def _teaching(recipe: Recipe, teachers: Sequence[Teacher], images: Tensor) -> dict[str, Run]:
    """Return the teachers' calls in a step, by name."""
    prompted = [teacher for teacher in teachers if isinstance(teacher, PromptedTeacher)]
    if not prompted:
        return {FORWARD: lambda: [teacher(images) for teacher in teachers]} if teachers else {}

    def learn() -> list[Tensor]:
        for teacher in teachers:
            if teacher not in prompted:
                teacher(images)
        return [gradient for teacher in prompted for gradient in _learn(teacher, images)]

    runs: dict[str, Run] = {LEARNING: learn}
    if any(reading(term.reading).prompted for term in recipe.terms):
        runs[ANCHOR] = lambda: torch.cat([teacher.plain(images) for teacher in prompted], dim=1)
    return runs


def _learn(teacher: PromptedTeacher, images: Tensor) -> tuple[Tensor, ...]:
    """Return the prompts' gradients from embedding and last tokens, without accumulating them."""
    embedding = teacher(images)
    outputs = [embedding, teacher.tokens]
    prompts = list(teacher.prompts.parameters())
    return torch.autograd.grad(outputs, prompts, [torch.ones_like(x) for x in outputs])


def _remember(teacher: PromptedTeacher, images: Tensor) -> CachedEmbeddings:
    """Return a cache of the teacher's embeddings of one batch without prompts."""
    hashes = image_hash(images).cpu().numpy()
    rows = hashes.argsort()
    embeddings = teacher.plain(images)
    width, count = embeddings.shape[1], len(images)
    meta = CacheMeta(teacher.name, None, width, images.shape[-1], count, count, "", __version__)
    stored = STORAGES[meta.storage].encode(embeddings)
    return CachedEmbeddings(EmbeddingCache(Path(), meta, hashes[rows], rows, stored))


def _install(
    host: Any, recipe: Recipe, teachers: Mapping[str, Teacher], task: Task, classes: int, maker: Maker
) -> None:
    """Install the recipe in the host, as a run does.

    Class centres and prototypes, where the recipe needs them, are random.
    """
    with TemporaryDirectory() as folder:
        for teacher in [*teachers.values()][:1]:
            if recipe.needs_centres:
                teacher.centres = maker.tensor(classes, teacher.embedding_size)
            if recipe.needs_prototypes:
                recipe.teacher.prototypes = str(_random_prototypes(Path(folder) / "prototypes", teacher, classes))
        # As a resumed run, which reads no initial weights.
        install(host, recipe, teachers, plan=RunPlan(Length(1, 1), resumes=True), task=task)


def _random_prototypes(folder: Path, teacher: Teacher, classes: int) -> Path:
    """Write random prototypes with 100 hardest others each, as in the paper."""
    rows = torch.nn.functional.normalize(torch.randn(classes, teacher.embedding_size))
    hardest = torch.randint(0, classes, (classes, NEAREST), dtype=torch.int32)
    meta = PrototypesMeta(
        teacher.name, None, "", classes, teacher.embedding_size, NEAREST, classes, classes, __version__
    )
    save_prototypes(folder, meta, rows.numpy(), hardest.numpy(), torch.ones(classes, dtype=torch.int64).numpy())
    return folder


class TrainingStep:
    """The host's training step: forward, head, backward, clipping, update.

    Args:
        host: has the five names, with a recipe installed or without.
        student: name of the network.
        images: (B, 3, 112, 112); their device is that of the step.
        labels: (B,), or the target of a task.
        precision: of the student.
        head: how many classes it has, and uses in a step.
    """

    def __init__(
        self, host: Any, student: str, images: Tensor, labels: Tensor, precision: Precision, head: HeadSize
    ) -> None:
        self.images, self.labels, self.precision = images, labels, precision
        device = images.device
        self.backbone: nn.Module = (
            host.get_model(student, num_features=WIDTH, fp16=precision == "fp16").to(device).train()
        )
        margin = host.CombinedMarginLoss(64, 1.0, 0.5, 0.0)
        self.head: nn.Module = host.PartialFC_V2(margin, WIDTH, head.classes, head.sample_rate).to(device).train()
        # Whether optimiser and clipping treat all parameters in one call; None leaves it to torch, which does so on a GPU.
        self.foreach: bool | None = None
        self.optimizer = self.new_optimizer()
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def new_optimizer(self) -> torch.optim.Optimizer:
        """Return an optimiser of backbone and head, without a state."""
        groups = [{"params": list(part.parameters())} for part in (self.backbone, self.head)]
        return torch.optim.SGD(groups, lr=1e-3, momentum=0.9, weight_decay=WEIGHT_DECAY, foreach=self.foreach)

    def loss(self) -> Tensor:
        """Return the loss of the batch."""
        with _autocast(self.images.device, self.precision):
            outputs = self.backbone(self.images)
        loss: Tensor = self.head(outputs, self.labels)
        return loss

    def __call__(self) -> None:
        """Take the step."""
        self.scaler.scale(self.loss()).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.backbone.parameters(), 5, foreach=self.foreach)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Return the autocast around the student's forward.

    For float16 it is none, since the hosts' networks use their own.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
