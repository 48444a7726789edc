"""arcface_torch's learning-rate schedule."""

import warnings

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class PolynomialLRWarmup(LRScheduler):
    """Linear warm-up, then polynomial decay to 0.

    At iteration i, from 0, with w = warmup_iters and T = total_iters, which should exceed w:
    base * (i + 1) / (w + 1) for i < w, base * ((T - i) / (T - w))^power for w <= i < T, 0 from T on.

    The rate is a closed form of i: no state is carried over when w, T or the learning rate changes. arcface_torch takes
    its very first step at the full rate; this schedule does not. `last_epoch` is the iteration last completed, -1 to begin.
    """

    def __init__(
        self, optimizer: Optimizer, warmup_iters: int, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.warmup_iters = warmup_iters
        self.total_iters = total_iters
        self.power = power
        if total_iters <= warmup_iters:
            warnings.warn(
                f"the run ends at step {total_iters}, before its warm-up of {warmup_iters} steps", stacklevel=2
            )
        super().__init__(optimizer, last_epoch)

    def factor(self, iteration: int) -> float:
        """Return an iteration's learning rate as a share of the base rate."""
        if iteration < self.warmup_iters:
            return (iteration + 1) / (self.warmup_iters + 1)
        if iteration >= self.total_iters:
            return 0.0
        return ((self.total_iters - iteration) / (self.total_iters - self.warmup_iters)) ** self.power

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each group for the next step."""
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]
