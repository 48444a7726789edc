"""Equality of float32 results that were summed in another order: by other ranks, threads or processors."""

import torch
from torch import Tensor

# A float32 sum is off by some 6e-8 of its largest terms. Between one process and several, 1.1e-7 (heads), 3e-7 (students) and 6e-7 (URFM)
# of the largest gradient were measured on one processor, up to 5e-6 on another, whose kernels sum batches of other sizes in another order.
# It is rounding: with all of it in float64, one process and two agree to 4e-16. A cosine is off by some 2^-23; the heads' scale of 64 makes
# that 8e-6 of a logit, hence of a probability and of its gradient; a few such add up to this.
# What these tests look for, such as a factor of the number of ranks, is four orders larger.
ROUNDING = 2e-5


def assert_equal_up_to_rounding(found: Tensor, expected: Tensor, what: str, rounding: float = ROUNDING) -> None:
    """Fail, with the numbers, where a difference exceeds a share of the largest expected value, or of 1 where that is smaller.

    Args:
        found: result.
        expected: of the same shape and type.
        what: begins the message.
        rounding: the share; entries near 0 are sums of large terms, so it is never of the entry itself.
    """
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(
        found, expected, rtol=0, atol=rounding * scale, msg=lambda text: f"{what}, of scale {scale:.3g}: {text}"
    )
