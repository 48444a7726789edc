"""A further margin where the student is less near than the teacher."""

import torch
from torch import Tensor, nn


class GeometryMargin(nn.Module):
    """Adds to another margin what the student lacks of the teacher's nearness.

    z_y - s w ReLU(c_T - c_S) c_T for the own class, where z_y is the other margin's logit, c_T = cos(f_T, w_y) and c_S = cos(f_S, w_y). The
    other classes stay as they are. The addition is a constant: the gradient is that of z_y.

    Args:
        margin: the other margin, called once a batch.
        scale: s, the other margin's.
        weight: w.

    Source: the geometry margin of AdaDistill's later form as others state it, with w = 1 and from the second epoch on. That it has no
    gradient, and that it acts from the first step on, are assumptions.
    """

    def __init__(self, margin: nn.Module, scale: float, weight: float) -> None:
        super().__init__()
        self.margin, self.scale, self.weight = margin, scale, weight
        self.near: Tensor | None = None

    def forward(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the logits; `near`, c_T of (N,) images, must have been set.

        Shape:
            cosines: (N, n) in [-1, 1]. labels: (N, 1) or (N,), -1 where another rank has the class. Returns (N, n).
        """
        assert self.near is not None, "set before each loss"
        near, self.near = self.near[:, None].to(cosines.dtype), None
        rows = labels.view(-1, 1)
        here, columns = rows >= 0, rows.clamp_min(0)
        # Before the other margin, which may change the cosines where they are.
        own = cosines.detach().gather(1, columns)
        lack = ((near - own).relu() * near).masked_fill(~here, 0)
        logits: Tensor = self.margin(cosines, labels)
        return torch.scatter_add(logits, 1, columns, (-self.scale * self.weight) * lack)
