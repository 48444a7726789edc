"""One job on both hosts: the same images, initial weights and schedule. What is left to differ is the hosts' own code."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from easydict import EasyDict
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts import upstream
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded import train_v2 as embedded
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.recipe import Recipe
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.tasks import seam
from insightface_cakd.tasks.teaching import make_teachers
from insightface_cakd.teachers import Teacher

BATCH, CLASSES, WIDTH = 8, 12, 64


class StoppedError(CAKDError):
    """Ends a run between two epochs."""


@dataclass(frozen=True)
class SharedJob:
    """A run that either host can do.

    Args:
        data: a folder of records; only looked at, since the images are drawn.
        output: the run's folder.
        recipe: what is distilled, if anything.
        steps: batches an epoch.
        stop_after: epochs after which the run is stopped; None lets it end.
        resume: go on from the checkpoint in `output`.
        fixes: of the checkout that change results and are wanted.
        changes: config keys that differ.
    """

    data: Path
    output: Path
    recipe: Recipe | None = None
    steps: int = 4
    stop_after: int | None = None
    resume: bool = False
    fixes: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What both hosts are told."""
        return {
            "rec": str(self.data), "output": str(self.output), "network": "mbf", "num_classes": CLASSES,
            "num_image": self.steps * BATCH, "num_epoch": 1, "batch_size": BATCH, "embedding_size": WIDTH,
            "optimizer": "sgd", "lr": 0.02, "weight_decay": 5e-4, "val_targets": [], "num_workers": 0, "frequent": 1,
            "verbose": 1000, "warmup_epoch": 0, "fp16": False, "save_all_states": True, "margin_list": (1.0, 0.0, 0.4),
            "sample_rate": 1.0, **self.changes,
        }  # fmt: skip


@dataclass
class Seen:
    """The loss and the learning rate of every step."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


class Images:
    """The same images in the same order, whichever host asks; other ones each epoch, and on each rank."""

    def __init__(self, job: SharedJob) -> None:
        self.job = job
        # A resumed job begins with its second epoch.
        self.epoch, self.first, self.passes = int(job.resume), 0, 0

    def __len__(self) -> int:
        return self.job.steps

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch and the step it begins with; arcface_torch tells this to torch's own loaders only."""
        self.epoch, self.first = epoch, first

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if self.passes == self.job.stop_after:
            raise StoppedError
        generator = torch.Generator().manual_seed(1 + self.epoch + 100 * rank())
        self.passes += 1
        self.epoch += 1
        for step in range(self.job.steps):
            images = torch.rand(BATCH, 3, 112, 112, generator=generator) * 2 - 1
            labels = torch.randint(CLASSES, (BATCH,), generator=generator)
            if step >= self.first:
                yield images, labels


@contextmanager
def double_precision() -> Iterator[None]:
    """Compute in float64: a difference between the hosts that is only rounding shrinks by nine decimals."""
    with pytest.MonkeyPatch.context() as patch:
        # Both hosts, the losses and the teacher turn what they get to single precision here and there.
        patch.setattr(torch.Tensor, "float", lambda tensor: tensor)
        patch.setattr(Teacher, "forward", lambda teacher, images: teacher.embedder(images))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def on_embedded(job: SharedJob) -> Seen:
    """Run a job on the embedded host."""
    cfg = get_config("faces_cnn_tiny")
    cfg.update(job.settings, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        # arcface_torch's schedule falls in a line with either optimiser, the embedded host's as a square with SGD.
        patch.setattr(embedded, "PolynomialLRWarmup", functools.partial(_linear, embedded.PolynomialLRWarmup))
        device = torch.device("cpu")
        return _run(job, embedded, patch, device, functools.partial(embedded.main, cfg, resume=job.resume))


def on_checkout(job: SharedJob, checkout: Path) -> Seen:
    """Run a job on arcface_torch itself."""
    with upstream.opened(find_checkout(checkout), job.fixes) as host, pytest.MonkeyPatch.context() as patch:
        cfg: EasyDict = host.get_config("configs/ms1mv3_mbf")
        cfg.update(job.settings, resume=job.resume)
        # The checkout rounds gradients to float16 on their way between ranks, also where there is one rank.
        patch.setattr(host.train_v2, "fp16_compress_hook", allreduce_hook)
        return _run(job, host.train_v2, patch, host.device, functools.partial(host.train, cfg))


def _linear(schedule: Callable[..., Any], optimizer: Any, warmup: int, total: int, power: float) -> Any:
    return schedule(optimizer, warmup, total)


def _run(
    job: SharedJob, loop: ModuleType, patch: pytest.MonkeyPatch, device: torch.device, main: Callable[[], Any]
) -> Seen:
    """Run a host's loop on the job's images and initial weights, and write down losses and rates."""
    seen = Seen()
    _share(job, loop, patch, seen)
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: seen.rates.append(float(optimizer.param_groups[0]["lr"]))
    )
    recipe = nullcontext()
    if job.recipe is not None:
        teachers = make_teachers(loop, job.recipe, device, checks=False).teachers
        recipe = seam.installed(loop, job.recipe, teachers)
    try:
        with recipe:
            main()
    except StoppedError:
        pass
    finally:
        hook.remove()
    return seen


def _share(job: SharedJob, loop: ModuleType, patch: pytest.MonkeyPatch, seen: Seen) -> None:
    build, head, meter = loop.get_model, loop.PartialFC_V2, loop.AverageMeter

    def same_student(name: str, **kwargs: Any) -> torch.nn.Module:
        network = build(name, **kwargs)
        network.load_state_dict(drawn(network.state_dict(), 0.05))
        return network

    class SameHead(head):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.load_state_dict(drawn(self.state_dict(), 0.01))
            # What a step samples is drawn from here on.
            torch.manual_seed(7)

    class Meter(meter):  # type: ignore[misc, valid-type]
        def update(self, value: Any, *count: int) -> None:
            seen.losses.append(float(torch.as_tensor(value).detach()))
            super().update(value, *count)

    patch.setattr(loop, "get_model", same_student)
    patch.setattr(loop, "PartialFC_V2", SameHead)
    patch.setattr(loop, "AverageMeter", Meter)
    patch.setattr(loop, "get_dataloader", lambda *args, **kwargs: Images(job))


def drawn(state: dict[str, torch.Tensor], deviation: float) -> dict[str, torch.Tensor]:
    """Draw weights of these shapes: the matrices at random, the rest as they are."""
    generator = torch.Generator().manual_seed(7)
    return {
        key: torch.randn(value.shape, generator=generator, dtype=value.dtype) * deviation if value.ndim > 1 else value
        for key, value in state.items()
    }


def write_full_recipe(folder: Path) -> tuple[str, str]:
    """Write a recipe that reads embeddings, a tap and logits, and its teacher's weights; return both paths."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("mbf", num_features=WIDTH).state_dict(), folder / "teacher.pt")
        torch.save({"weight": torch.randn(CLASSES, WIDTH)}, folder / "centres.pt")
    (folder / "full.yaml").write_text(FULL.format(centres=str(folder / "centres.pt")))
    return str(folder / "full.yaml"), str(folder / "teacher.pt")


FULL = """\
about: for a test
teacher:
  network: mbf
  centres: [{centres!r}]
losses:
  - loss: cosine
    weight: 64
  - loss: fitnet
    weight: 4
    student: layers.5
    teacher: layers.5
    projector: conv1x1
  - loss: kd
    temperature: 4.0
    weight: 1
"""
