"""Small networks without batch norm, so that ranks and one process can be compared exactly; a host made of real parts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.teachers.base import Teacher
from tests.prototype_files import write_folder

WIDTH = 16
BATCH = 12


class Toy(nn.Module):
    """A convolution with a 7x7 map, and an embedding."""

    def __init__(self, num_features: int = WIDTH, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, kernel_size=16, stride=16)
        self.act = nn.Tanh()
        self.head = nn.Linear(channels * 49, num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, num_features)."""
        return self.head(self.act(self.conv(images)).flatten(1))


def toy_host() -> SimpleNamespace:
    """Return the three names of a training loop, with the embedded host's own margin and head."""

    def get_model(name: str, num_features: int = WIDTH, **_: object) -> nn.Module:
        return Toy(num_features)

    return SimpleNamespace(get_model=get_model, CombinedMarginLoss=CombinedMarginLoss, PartialFC_V2=PartialFC_V2)


def toy_teacher(channels: int = 6) -> Teacher:
    """Return a wider teacher with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        return Teacher.of_network(Toy(WIDTH, channels), "toy", WIDTH, torch.device("cpu"))


def toy_teachers(channels: int = 6) -> dict[str, Teacher]:
    """Return the one teacher of a run, by the name that it has there."""
    return {"teacher": toy_teacher(channels)}


def toy_batch(classes: int) -> tuple[Tensor, Tensor]:
    """Return images (BATCH, 3, 112, 112) and labels (BATCH,) below `classes`, always the same."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(BATCH, 3, 112, 112, generator=generator) * 2 - 1
    return images, torch.randint(0, classes, (BATCH,), generator=generator)


def toy_centres(classes: int, seed: int) -> Tensor:
    """Return class centres (classes, WIDTH)."""
    return torch.randn(classes, WIDTH, generator=torch.Generator().manual_seed(seed))


def teacher_file(folder: Path, classes: int) -> str:
    """Write the teacher's class centres to a file of this rank's own, and return its path."""
    path = folder / f"head{rank()}.pt"
    torch.save({"weight": toy_centres(classes, seed=5)}, path)
    return str(path)


def prototypes_folder(folder: Path, classes: int) -> str:
    """Write prototypes, each with the next five numbers as hard others, to a folder of this rank's own, and return its path."""
    path = folder / f"prototypes{rank()}"
    if not path.exists():
        numbers = np.arange(classes)
        rows = normalize(toy_centres(classes, seed=6)).numpy()
        write_folder(path, rows, (numbers[:, None] + np.arange(1, 6)) % classes)
    return str(path)


def toy_head(host: SimpleNamespace, classes: int, margin: tuple[float, float, float], sample_rate: float = 1.0) -> Any:
    """Return the host's head with the same class centres on any number of ranks."""
    head = host.PartialFC_V2(host.CombinedMarginLoss(64, *margin), WIDTH, classes, sample_rate, False).train()
    head.weight.data.copy_(toy_centres(classes, seed=3)[head.class_start : head.class_start + head.num_local])
    return head


def of_ranks(student: nn.Module) -> nn.Module:
    """Return the student as arcface_torch wraps it when there are several ranks."""
    if world_size() == 1:
        return student
    wrapped = DistributedDataParallel(student, broadcast_buffers=False, bucket_cap_mb=16, find_unused_parameters=True)
    wrapped._set_static_graph()
    return wrapped
