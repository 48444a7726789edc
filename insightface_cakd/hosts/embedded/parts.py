"""What a run is made of, and what it comes to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from easydict import EasyDict
from torch import nn

from insightface_cakd.hosts.embedded.dataset import Batches
from insightface_cakd.hosts.embedded.lr_scheduler import PolynomialLRWarmup


@dataclass
class RunResult:
    """What a run came to.

    Args:
        accuracy: of the last network on each verification set.
        best: the best value of any epoch on each set: the highest accuracy, or what the task counts.
        measured: numbers of the last network on each set, of a task that is not identification.
        steps: optimiser steps.
        seconds: of this process, from its own start of training.
        images_per_second: over the whole run, verification included.
    """

    accuracy: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    images_per_second: float = 0.0


@dataclass
class Parts:
    """Everything that a run is made of."""

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

    @property
    def output(self) -> Path:
        """Folder of the run."""
        return Path(self.cfg.output)
