"""What student and head of one run share."""

from torch import Tensor

from insightface_cakd.data.prototypes import Prototypes
from insightface_cakd.distill.centres import CentreRule
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent


class Distillation:
    """What student and head share: made by the seam before either exists.

    Args:
        step: the terms.
        monitor: where raw and weighted values go.
        centres: the teacher's class centres (classes, D_t) on the CPU; only for logits terms.
        prototypes: from which terms were started, if one needs them.
    """

    def __init__(
        self,
        step: DistillationStep,
        monitor: Monitor,
        centres: Tensor | None = None,
        prototypes: Prototypes | None = None,
    ) -> None:
        self.step = step
        self.monitor = monitor
        self.centres = centres
        self.prototypes = prototypes
        self.student: DistilledStudent | None = None
        self.rows: Tensor | None = None
        # Who decides the head's class centres: without the recipe's word, the optimiser.
        self.rule = CentreRule()
