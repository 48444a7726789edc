"""The margin of the margin softmax, applied to cosines."""

import math

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RunError


class CombinedMarginLoss(nn.Module):
    """Scaled cosines with a margin on the target class.

    ArcFace (m1 = 1, m3 = 0): s cos(theta_y + m2). CosFace (m1 = 1, m2 = 0): s (cos theta_y - m3). m = (1, 0, 0) is the
    normalised softmax. The ArcFace margin changes the value and passes the gradient through unchanged,
    d logit / d cos = s, as arcface_torch does; results stay comparable.

    Shape:
        logits: (N, n) cosines in [-1, 1], left unchanged; labels: (N, 1) or (N,), -1 where the class is not among the
            n.
        Returns (N, n).
    Args:
        m1: factor of the angle; only 1 is supported.
        m2: margin added to the angle, in radians, within [0, pi).
        interclass_filtering_threshold: negatives with a larger cosine become 0; 0 switches it off.
    """

    def __init__(self, s: float, m1: float, m2: float, m3: float, interclass_filtering_threshold: float = 0) -> None:
        super().__init__()
        if m1 != 1.0 or (m2 > 0 and m3 > 0) or not 0 <= m2 < math.pi or m3 < 0:
            raise RunError(
                f"margin_list ({m1}, {m2}, {m3}) is not supported; expected (1, m2, 0) for ArcFace or (1, 0, m3) for CosFace with "
                "non-negative margins. arcface_torch would silently ignore a part of it."
            )
        self.s = s
        self.m1, self.m2, self.m3 = m1, m2, m3
        self.interclass_filtering_threshold = interclass_filtering_threshold

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the logits (N, n) with margin and scale; see the class."""
        # By a mask, not by the places of what is there, for which the host would wait for the device.
        labels = labels.view(-1, 1)
        here, columns = labels != -1, labels.clamp_min(0)
        if self.interclass_filtering_threshold > 0:
            # Negatives above the threshold probably show the same person under another label.
            keep = logits.detach() <= self.interclass_filtering_threshold
            logits = logits * keep.scatter(1, columns, keep.gather(1, columns) | here)
        if self.m3 > 0:
            target = logits.gather(1, columns)
            logits = logits.scatter(1, columns, torch.where(here, target - self.m3, target))
        elif self.m2 > 0:
            target = logits.detach().gather(1, columns)
            moved = (target.clamp(-1, 1).acos() + self.m2).cos() - target
            logits = logits.scatter_add(1, columns, moved * here)
        return logits * self.s
