"""The teacher's class centres, frozen in the student's head."""

from typing import Any

import torch
from torch import Tensor

from insightface_cakd.distill.gather import gather_constant, sum_over_ranks
from insightface_cakd.distill.sources.centres.quality import QualityMargin, quality_margins
from insightface_cakd.distill.sources.centres.rule import CentreRule, cosines, own_rows
from insightface_cakd.distill.sources.context import Setting
from insightface_cakd.errors import RunError, ShapeError


class TeacherCentres(CentreRule):
    """The head's rows are the teacher's, and stay so bit for bit.

    loss = -log softmax of s phi(theta_y) against s cos theta_j, theta_j between the student's embedding and the teacher's centre w_j;
    phi is the host's margin. The teacher itself is not run. Its rows are not normalised; a rank takes its own. The gradient of an arc
    margin is the host's, straight through, unless `gradient: arc` asks for that of the equation.

    Source: ProxylessKD (arXiv 2011.00265); ArcDistill and CosDistill as in AdaDistill (arXiv 2407.01332).
    """

    rule = ("teacher", "host")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.centres = setting.load_centres()

    def check(self, width: int, classes: int) -> None:
        """Check that the centres fit teacher, student and training set."""
        rows, columns = self.centres.shape
        teacher_width = self.setting.teacher.embedding_size
        if columns != teacher_width:
            raise ShapeError(
                f"teacher centres ({rows}, {columns}) do not fit a teacher of width {teacher_width}; expected rows of that many "
                "values. Set teacher.centres to the head of this teacher."
            )
        super().check(width, classes)
        if rows != classes:
            raise ShapeError(
                f"teacher centres ({rows}, {columns}) do not fit a training set of {classes} classes; expected one row per class, in the "
                "order of the labels. Set teacher.centres to the head of this teacher on this data set, every shard of it."
            )

    def begin(self, head: Any, classes: int) -> None:
        """Put this rank's rows into the head."""
        super().begin(head, classes)
        with torch.no_grad():
            head.weight.copy_(self.centres.rows(head.class_start, head.class_start + head.num_local))

    def check_state(self, head: Any, state: dict[str, Any]) -> None:
        """Refuse a checkpoint whose rows are not the teacher's."""
        saved = state.get("weight")
        # A host that loads a state while it builds the head does so before the teacher's rows are put into it.
        if head.weight.requires_grad or not isinstance(saved, Tensor) or saved.shape != head.weight.shape:
            return
        if not torch.equal(saved.to(head.weight), head.weight):
            raise RunError(
                "checkpoint: its class centres are not those of teacher.centres; expected a run with head.centres: teacher and the same "
                "files. Resume with the recipe and --centres of the run, or start a new one."
            )


class QualityCentres(TeacherCentres):
    """The teacher's class centres, with an arc margin per image.

    The margin follows from how near the teacher puts the image to its class. Each rank measures the images of its own classes; the sum over
    ranks gives every rank all margins.

    Source: MarginDistillation (arXiv 2003.02586), whose maximum is that of one device's batch; here of the batch of all ranks.
    """

    rule = ("teacher", "quality")

    def set_margin(self, head: Any) -> None:
        """Put the margin per image in place of the host's."""
        head.margin_softmax = QualityMargin(head.margin_softmax, self.spec.gradient == "arc")

    @torch.no_grad()
    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Set each image's margin in the gathered batch; log their mean."""
        taught = gather_constant(self.taught(features))
        mine, rows = own_rows(head, gather_constant(labels))
        near = sum_over_ranks(cosines(taught, head.weight[rows]).masked_fill(~mine, 0))
        margins = quality_margins(near, *self.spec.margins)
        head.margin_softmax.margins = margins
        return {"head.margin": margins.mean()}
