"""The parts of a run and its result."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from easydict import EasyDict
from torch import nn

from insightface_cakd.data.label_order import LabelOrder
from insightface_cakd.hosts.embedded.dataset import Batches
from insightface_cakd.hosts.embedded.lr_scheduler import PolynomialLRWarmup


@dataclass
class RunResult:
    """The result of a run.

    Args:
        best: best value of any epoch on each set: the highest accuracy, or the value by which the task chooses.
        measured: numbers of the last network on each set, for a task other than identification.
    """

    accuracy: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    images_per_second: float = 0.0


@dataclass
class Parts:
    """The parts of a run.

    Args:
        student: the network that is called in training: `backbone`, or its DDP wrapper.
        epoch: completed ones.
        step: updates of the optimiser.
        done: batches of the next epoch that an earlier process has done.
    """

    cfg: EasyDict
    device: torch.device
    loader: Batches
    backbone: nn.Module
    student: nn.Module
    head: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: PolynomialLRWarmup
    scaler: torch.amp.GradScaler
    epoch: int = 0
    step: int = 0
    done: int = 0

    @cached_property
    def labels(self) -> LabelOrder | None:
        """The labels' identity; None for data that have none."""
        label_order = getattr(self.loader, "label_order", None)
        return None if label_order is None else label_order(str(self.cfg.rec))

    @property
    def batches_together(self) -> int:
        """How many batches no stop may come between.

        Those of one update, and those that a loader makes of each other.
        """
        return math.lcm(int(self.cfg.gradient_acc), int(getattr(self.loader, "together", 1)))

    @property
    def output(self) -> Path:
        """The output folder of the run."""
        return Path(self.cfg.output)
