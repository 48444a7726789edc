"""What the benchmark times: a step of the student alone, the parts of the teacher, and a step of the recipe."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from insightface_cakd import __version__
from insightface_cakd.data.embedding_cache import CacheMeta, EmbeddingCache, image_hash
from insightface_cakd.data.prototypes import PrototypesMeta, save_prototypes
from insightface_cakd.distill.plan import RunPlan
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.readings import reading
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.tasks.seam import install
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


def timed_runs(recipe: Recipe, student: str, batch: int, device: torch.device, precision: Precision) -> dict[str, Run]:
    """Return the kinds of call by name, in the order in which they are timed.

    Student step; teacher forward, with prompts forward and backward to them; if anchors need it, what the teacher says without
    prompts: another forward, or with `prompts.plain` a look-up in a cache, here in memory and of one batch; distillation step.

    Args:
        recipe: to be timed; its teacher gets random weights.
        student: network of the student.
        batch: images a step.
        device: where all of it runs.
        precision: of the student's body.

    Raises:
        CAKDError: a network does not exist, they do not fit the recipe, or the device lacks the precision.
    """
    if precision == "fp16" and device.type != "cuda":
        raise RunError(
            f"bench: --training-precision fp16 on {device.type}; the hosts compute in float16 on CUDA only. Use fp32 or bf16."
        )
    images = torch.randint(0, 256, (batch, 3, 112, 112), device=device) / 127.5 - 1
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    teacher = untrained_teacher(recipe.teacher, get_model, WIDTH, device)
    if isinstance(teacher, PromptedTeacher) and teacher.spec.plain is not None:
        teacher.remembered = _remember(teacher, images)
    host: Any = SimpleNamespace(get_model=get_model, CombinedMarginLoss=CombinedMarginLoss, PartialFC_V2=PartialFC_V2)
    runs: dict[str, Run] = {ALONE: _step(host, student, images, labels, precision)}
    runs |= _teaching(recipe, teacher, images)
    _install(host, recipe, teacher)
    runs[DISTILLATION] = _step(host, student, images, labels, precision)
    return runs


def _teaching(recipe: Recipe, teacher: Teacher, images: Tensor) -> dict[str, Run]:
    """Return what the teacher does in a step."""
    if not isinstance(teacher, PromptedTeacher):
        return {FORWARD: lambda: teacher(images)}
    runs: dict[str, Run] = {LEARNING: lambda: _learn(teacher, images)}
    anchored = any(reading(term.reading).prompted for term in recipe.terms)
    return runs | ({ANCHOR: lambda: teacher.plain(images)} if anchored else {})


def _learn(teacher: PromptedTeacher, images: Tensor) -> tuple[Tensor, ...]:
    """Return the prompts' gradients from the embedding and the last tokens, added to nothing."""
    embedding = teacher(images)
    outputs = [embedding, teacher.tokens]
    prompts = list(teacher.prompts.parameters())
    return torch.autograd.grad(outputs, prompts, [torch.ones_like(x) for x in outputs])


def _remember(teacher: PromptedTeacher, images: Tensor) -> CachedEmbeddings:
    """Return a cache of what the teacher says to one batch without prompts."""
    hashes = image_hash(images).cpu().numpy()
    rows = hashes.argsort()
    embeddings = teacher.plain(images).half().cpu().numpy()
    meta = CacheMeta(
        teacher.name, None, embeddings.shape[1], images.shape[-1], len(images), len(images), "", __version__
    )
    return CachedEmbeddings(EmbeddingCache(Path(), meta, hashes[rows], rows, embeddings))


def _install(host: Any, recipe: Recipe, teacher: Teacher) -> None:
    """Put the recipe into the host, as a run does, with random weights, class centres and prototypes where it needs them."""
    with TemporaryDirectory() as folder:
        if recipe.needs_centres:
            centres = Path(folder) / "centres.pt"
            torch.save({"weight": torch.randn(CLASSES, teacher.embedding_size)}, centres)
            recipe.teacher.centres = [str(centres)]
        if recipe.needs_prototypes:
            recipe.teacher.prototypes = str(_random_prototypes(Path(folder) / "prototypes", teacher))
        recipe.student = None
        install(host, recipe, {"teacher": teacher}, plan=RunPlan(Length(1, 1)))


def _random_prototypes(folder: Path, teacher: Teacher) -> Path:
    """Write prototypes with as many hard others as the paper has."""
    rows = torch.nn.functional.normalize(torch.randn(CLASSES, teacher.embedding_size))
    hardest = torch.randint(0, CLASSES, (CLASSES, NEAREST), dtype=torch.int32)
    meta = PrototypesMeta(
        teacher.name, None, "", CLASSES, teacher.embedding_size, NEAREST, CLASSES, CLASSES, __version__
    )
    save_prototypes(folder, meta, rows.numpy(), hardest.numpy(), torch.ones(CLASSES, dtype=torch.int64).numpy())
    return folder


def _step(host: Any, student: str, images: Tensor, labels: Tensor, precision: Precision) -> Run:
    """Return one full training step as the host takes it: forward, head, backward, clip, update."""
    device = images.device
    backbone: nn.Module = host.get_model(student, num_features=WIDTH, fp16=precision == "fp16").to(device).train()
    margin = host.CombinedMarginLoss(64, 1.0, 0.5, 0.0)
    head: nn.Module = host.PartialFC_V2(margin, WIDTH, CLASSES).to(device).train()
    groups = [{"params": list(backbone.parameters())}, {"params": list(head.parameters())}]
    optimizer = torch.optim.SGD(groups, lr=1e-3, momentum=0.9)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def run() -> None:
        with _autocast(device, precision):
            outputs = backbone(images)
        scaler.scale(head(outputs, labels)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(backbone.parameters(), 5)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return run


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Return the autocast around the student; for float16 the hosts' networks open their own."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
