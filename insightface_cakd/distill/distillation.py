"""What the student and the head of one run share."""

from collections.abc import Sequence

from insightface_cakd.data.prototypes import Prototypes
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.sources import Source
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent


class Distillation:
    """State shared by student and head; made before either exists.

    `prototypes` are those from which terms were started, if a term needs them.
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
