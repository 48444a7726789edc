"""What student and head of one run share."""

from collections.abc import Sequence

from insightface_cakd.data.prototypes import Prototypes
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.sources import Source
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent


class Distillation:
    """What student and head share: made by the seam before either exists.

    Args:
        step: the terms.
        monitor: where raw and weighted values go.
        sources: what the terms read.
        prototypes: from which terms were started, if one needs them.
    """

    def __init__(
        self,
        step: DistillationStep,
        monitor: Monitor,
        sources: Sequence[Source] = (),
        prototypes: Prototypes | None = None,
    ) -> None:
        self.step = step
        self.monitor = monitor
        self.sources = list(sources)
        self.prototypes = prototypes
        self.student: DistilledStudent | None = None
