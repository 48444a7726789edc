"""What margins take from the host's, and an arc's own gradient."""

from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RunError

# Nearer to 0 or pi than this in the cosine, the slope of an arc is that at this distance.
EPS = 1e-3


def scale_of(host: nn.Module, setting: str) -> float:
    """Return the scale s of the host's margin.

    Args:
        host: the host's `margin_softmax`.
        setting: what asks for it, such as `head.margin: adaface`.

    Raises:
        RunError: it has none.
    """
    scale: Any = getattr(host, "s", None)
    if not isinstance(scale, int | float):
        raise RunError(
            f"{setting} takes the scale from the host's margin, and {type(host).__name__} has no number `s`; expected arcface_torch's "
            "CombinedMarginLoss. Leave it out of the recipe."
        )
    return float(scale)


class ArcGradient(nn.Module):
    """Gives the host's arc margin the gradient of its equation.

    The value stays that of the host, s cos(theta_y + m2); d logit / d cos theta_y is s sin(theta_y + m2) / sin theta_y, where both hosts'
    ArcFace passes s straight through.

    Args:
        margin: the host's `margin_softmax`, with an arc margin.

    Raises:
        RunError: it has another margin, whose gradient is that of its equation already.
    """

    def __init__(self, margin: nn.Module) -> None:
        super().__init__()
        m1, angle, m3 = (getattr(margin, name, None) for name in ("m1", "m2", "m3"))
        if m1 != 1 or m3 != 0 or not isinstance(angle, int | float) or angle <= 0:
            raise RunError(
                f"head.gradient: arc with the margin ({m1}, {angle}, {m3}) of {type(margin).__name__}; expected an arc margin (1, m2, 0) "
                "with m2 > 0: only its gradient differs between host and equation. Set the config's margin_list, or remove head.gradient."
            )
        self.margin, self.angle = margin, float(angle)

    def forward(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the margin's logits.

        Shape:
            cosines: (N, n) in [-1, 1], left unchanged. labels: (N, 1) or (N,), -1 where another rank has the class. Returns (N, n).
        """
        logits: Tensor = self.margin(with_arc_slope(cosines, labels, self.angle), labels)
        return logits


def with_arc_slope(cosines: Tensor, labels: Tensor, angle: float | Tensor) -> Tensor:
    """Return the cosines, those of own classes with an arc's slope.

    What a straight-through margin adds afterwards then has the gradient of cos(theta_y + angle): sin(theta_y + angle) / sin theta_y. It is
    negative where the angle passes pi. Cosines beyond 0.999 have the slope at 0.999, which is finite.

    Shape:
        cosines: (N, n) in [-1, 1], left unchanged. labels: (N, 1) or (N,), -1 where another rank has the class. angle: radians, a number or
            (N,). Returns (N, n).
    """
    labels = labels.view(-1, 1)
    here, columns = labels >= 0, labels.clamp_min(0)
    own = cosines.gather(1, columns)
    theta = own.detach().clamp(EPS - 1, 1 - EPS).acos()
    added = angle[:, None] if isinstance(angle, Tensor) else angle
    slope = torch.where(here, (theta + added).sin() / theta.sin(), 1.0)
    return cosines.scatter(1, columns, own.detach() + slope * (own - own.detach()))
