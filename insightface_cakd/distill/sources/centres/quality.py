"""An arc margin per image: larger the nearer to its class."""

from torch import Tensor, nn

from insightface_cakd.distill.sources.centres.margins import scale_of, with_arc_slope
from insightface_cakd.errors import RunError

# A batch whose images all point away from their centres has no scale of its own.
LEAST = 1e-6


def quality_margins(near: Tensor, low: float, high: float) -> Tensor:
    """Return an arc margin per image, by its nearness to the centre.

    m_i = (high - low) / D_max * near_i + low, clamped to [low, high], with D_max = max(max_j near_j, 1e-6).

    The clamp is for images that point away from their centre: they get the smallest margin, where the formula would go below the range, and
    far below it in a batch of nothing else. `high` is the margin of the batch's nearest image.

    Shape:
        near: (N,), cosine of the teacher's embedding and centre, over the gathered batch. Returns (N,), radians.
    """
    share = near / near.amax().clamp_min(LEAST)
    return (low + (high - low) * share).clamp(low, high)


class QualityMargin(nn.Module):
    """Replaces the host's margin by one per image.

    s cos(theta_y + m_i) for the own class, s cos theta_j for the others. As in both hosts' ArcFace the margin moves the value and leaves
    the gradient straight through, d logit / d cos = s; or it is that of the equation, see `with_arc_slope`. Scale and interclass filter are
    the host's.

    Args:
        host: the host's margin.
        arc_slope: whether the gradient is that of the equation.
    """

    def __init__(self, host: nn.Module, arc_slope: bool = False) -> None:
        super().__init__()
        self.arc_slope = arc_slope
        self.scale = scale_of(host, "head.margin: quality")
        self.threshold = float(getattr(host, "interclass_filtering_threshold", 0))
        self.margins: Tensor | None = None

    def forward(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the logits; `margins`, (N,), must have been set for the batch.

        Shape:
            cosines: (N, n) in [-1, 1], left unchanged. labels: (N, 1) or (N,), -1 where another rank has the class. Returns (N, n).
        """
        if self.margins is None:
            raise RunError("head.margin: quality has no margins for this batch; expected a head with a `head` rule.")
        margins, self.margins = self.margins, None
        if self.arc_slope:
            cosines = with_arc_slope(cosines, labels, margins)
        labels = labels.view(-1, 1)
        here, columns = labels >= 0, labels.clamp_min(0)
        target = cosines.detach().gather(1, columns)
        moved = ((target.clamp(-1, 1).acos() + margins[:, None]).cos() - target).masked_fill(~here, 0)
        if self.threshold > 0:
            keep = cosines.detach() <= self.threshold
            cosines = cosines * keep.scatter(1, columns, keep.gather(1, columns) | here)
        return (cosines * self.scale).scatter_add_(1, columns, moved * self.scale)
