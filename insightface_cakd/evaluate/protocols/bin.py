"""Verification sets: arcface_torch's ten folds and TAR@FAR, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from insightface_cakd.evaluate.protocol import Protocol
from insightface_cakd.report.result import Result

if TYPE_CHECKING:
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.networks.models import Embed


@dataclass(frozen=True)
class Verification(Protocol):
    """Measure accuracy and TAR@FAR on pairs, with intervals.

    Ten folds with flip, arcface_torch's protocol, on verification sets and on variants of them.

    Example: `cakd eval bin student.onnx lfw.bin agedb_30.bin --variant all`

    Args:
        variant: plain, masked, lowres:N, eye_strip, single (no mirror), flipped or all; may be given several times.
        on: Change the second image of a pair only, or both.
        face_bn: Measure each variant also with so much of the test's own batch-norm statistics (FaceBN), from 0 to 1.
        width: Take the first so many numbers of the embedding alone; see recipe nested.
    """

    metavar: ClassVar[str] = "SETS..."
    takes: ClassVar[str] = ".bin verification sets, or folders of them."

    variant: list[str] = field(default_factory=list)
    on: Literal["probe", "both"] = "probe"
    face_bn: float = 0
    width: int | None = None

    def measure(self, network: "Embed", data: Sequence[Path], execution: "Execution") -> Result:
        """Return accuracy and TAR@FAR of each set and variant."""
        from insightface_cakd.evaluate.pairs.set_tables import SetResults
        from insightface_cakd.evaluate.pairs.sets import measure_sets
        from insightface_cakd.evaluate.pairs.variants import parse_variants

        if self.width is not None:
            from insightface_cakd.networks.prefix import prefix_of

            network = prefix_of(network, self.width)
        return SetResults(measure_sets(network, data, parse_variants(self.variant, self.face_bn), execution, self.on))
