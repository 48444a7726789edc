"""Identification among distractors, from folders of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.protocol import Protocol
from insightface_cakd.report.result import Result

if TYPE_CHECKING:
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.networks.models import Embed


@dataclass(frozen=True)
class Identification(Protocol):
    """Rank-1 and TAR@FAR among distractors, as in MegaFace.

    Rank-1 among 10, 100, ... and all distractors, TAR@FAR against all.

    Example: `cakd eval identify student.onnx facescrub megaface`

    Args:
        max_corrupt: How many pictures that cannot be read may be left out.
        seed: Of the order in which distractors are added.
    """

    metavar: ClassVar[str] = "PROBES DISTRACTORS"
    takes: ClassVar[str] = (
        "Aligned faces, one subfolder per person with two pictures or more, and faces of other people, at any depth."
    )

    max_corrupt: int = 0
    seed: int = 0

    def measure(self, network: "Embed", data: Sequence[Path], execution: "Execution") -> Result:
        """Measure people in the first folder among distractors in the second."""
        from insightface_cakd.evaluate.identify.folders import Faults, find_pictures, identify_folders

        if len(data) != 2:
            raise EvaluationError(
                f"identify: {len(data)} folders; expected two, people and distractors. Name both, in this order."
            )
        probes, distractors = data
        pictures = find_pictures(probes, distractors, self.seed)
        return identify_folders(network, pictures, execution, Faults(self.max_corrupt))
