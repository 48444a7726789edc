"""Verification sets by eye strip, by face, and strip against face."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from insightface_cakd.evaluate.protocol import Protocol
from insightface_cakd.report.result import Result

if TYPE_CHECKING:
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.networks.models import Embed


@dataclass(frozen=True)
class PeriocularVerification(Protocol):
    """Verification by eye strip, by face, and strip against face.

    Ten-fold accuracy with flip, equal error rate and TAR@FAR, with intervals.

    A run of the task periocular answers with its two branches; any other model sees the strip with the rest of the face grey.

    Example: `cakd eval periocular work_dirs/ckd lfw.bin`
    """

    metavar: ClassVar[str] = "SETS..."
    takes: ClassVar[str] = ".bin verification sets, or folders of them."

    def measure(self, network: "Embed", data: Sequence[Path], execution: "Execution") -> Result:
        """Return the numbers of each set and way of comparing."""
        from insightface_cakd.evaluate.pairs.periocular import measure_periocular

        return measure_periocular(network, data, execution)
