"""Running averages that stay on the device, and the log file."""

import logging
from pathlib import Path

from torch import Tensor

LOGGER = logging.getLogger("insightface_cakd.train")


class AverageMeter:
    """The mean of values since the last reset; no adding waits."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def update(self, value: Tensor) -> None:
        """Add a scalar on any device."""
        value = value.detach()
        self.total = value.clone() if self.total is None else self.total + value
        self.count += 1

    @property
    def avg(self) -> float:
        """The mean, NaN where nothing was added; waits for the device."""
        return float("nan") if self.total is None else float(self.total) / self.count

    def reset(self) -> None:
        """Start a new mean."""
        self.total, self.count = None, 0


def init_logging(rank: int, models_root: str) -> None:
    """Send messages of rank 0 to the screen and to `training.log`."""
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    LOGGER.propagate = False
    LOGGER.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    if rank != 0:
        return
    formatter = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
    file = logging.FileHandler(Path(models_root) / "training.log")
    for handler in (file, logging.StreamHandler()):
        handler.setFormatter(formatter)
        LOGGER.addHandler(handler)
