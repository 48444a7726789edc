"""Class centres that follow the teacher's embeddings (AdaDistill)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from insightface_cakd.distill.gather import gather_constant, sum_over_ranks
from insightface_cakd.distill.sources.centres.geometry import GeometryMargin
from insightface_cakd.distill.sources.centres.margins import scale_of
from insightface_cakd.distill.sources.centres.rule import EPS, CentreRule, cosines, own_rows

LEAST = 1e-6


class AverageCentres(CentreRule):
    """Class centres that follow the teacher's embeddings.

    Before the logits of a step, the centre of each image's class moves towards the teacher's embedding of the image:

    w_y <- a w_y + (1 - a) t with the unit teacher embedding t and a = clip(cos(f, t) clip(cos(w_y, t), 1e-6, 1), 1e-6, 1): the centre
    of a class not seen yet becomes the teacher's embedding, and as the student learns, the centre comes to rest. Images of one class take
    the mean of what each alone would give, whatever their order. The rows begin as the host draws them, are kept unnormalised in the
    head's own state, and sampled heads (`sample_rate` < 1) choose among rows that have already moved. In eval mode nothing moves.

    There is one update for the batch of all ranks, by the rank that has the class. The released code instead moves a copy on each process
    by that process's images and never brings the copies together; this is not offered.

    With `alpha: simple` the factor cos(w_y, t), of centre and teacher, is left out of a. With `geometry`, each image has a further margin
    by what the student lacks of the teacher's nearness to the moved centre, see `GeometryMargin`.

    Source: AdaDistill (arXiv 2407.01332).
    """

    rule = ("average", "host")

    def taught(self, features: dict[str, Tensor]) -> Tensor:
        """Return the embeddings of the ensemble, else of the first teacher."""
        return features[f"{self.setting.answer}.embedding"].float()

    def begin(self, head: Any, classes: int) -> None:
        """Freeze the class centres, and put the margin around the head's own."""
        host = head.margin_softmax
        super().begin(head, classes)
        self.margin: GeometryMargin | None = None
        if self.spec.geometry is not None:
            self.margin = head.margin_softmax = GeometryMargin(
                head.margin_softmax, scale_of(host, "head.geometry"), self.spec.geometry
            )

    @torch.no_grad()
    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Move this rank's class centres; log the batch's mean of a."""
        if not head.training and self.margin is None:
            return {}
        teacher = normalize(self.taught(features), eps=EPS)
        agreement = cosines(features["student.embedding"].float(), teacher)
        everyone = gather_constant(torch.cat([teacher, agreement[:, None]], dim=1))
        classes = gather_constant(labels)
        mine, rows = own_rows(head, classes)
        teacher, agreement = everyone[:, :-1], everyone[:, -1]
        logged = self._move(head, teacher, agreement, classes, mine, rows) if head.training else {}
        if self.margin is not None:
            self.margin.near = cosines(head.weight[rows], teacher)
        return logged

    def _move(
        self, head: Any, teacher: Tensor, agreement: Tensor, classes: Tensor, mine: Tensor, rows: Tensor
    ) -> dict[str, Tensor]:
        old = head.weight[rows]
        near = 1 if self.spec.alpha == "simple" else cosines(old, teacher).clamp(LEAST, 1)
        alpha = (agreement * near).clamp(LEAST, 1)
        moved = alpha[:, None] * old + (1 - alpha[:, None]) * teacher
        # One row of each class adds the whole change of its centre: the result does not depend on the order of additions.
        mean, first = _class_means(moved, classes)
        head.weight.index_add_(0, rows, (mean - old).masked_fill(~(mine & first)[:, None], 0))
        return {"head.alpha": sum_over_ranks(alpha.masked_fill(~mine, 0).sum()) / len(classes)}


def _class_means(rows: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over the rows of each row's class.

    Also returns which rows are the first of their class. The device is not waited for.

    Shape:
        rows: (N, D); classes: (N,). Returns (N, D) and (N,).
    """
    ordered, order = classes.sort(stable=True)
    group = torch.searchsorted(ordered, classes)
    count = torch.searchsorted(ordered, classes, right=True) - group
    # In float64, sums of float32 values are exact but for vanishing parts, and so the same in any order.
    total = torch.zeros_like(rows, dtype=torch.float64).index_add_(0, group, rows.double())
    first = order[group] == torch.arange(len(classes), device=classes.device)
    return (total[group] / count[:, None]).to(rows.dtype), first
