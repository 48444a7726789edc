"""Landmarks: error of the found points, by a named normaliser."""

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
class LandmarkErrors(Protocol):
    """NME, failure rate and AUC of landmarks, beside the mean shape.

    With --report, a page of the faces with the largest errors and with those about the median; with --json, every image's error.

    Example: `cakd eval landmarks student points --subset test --report errors.html`

    Args:
        subset: Name of the set in the folder.
    """

    metavar: ClassVar[str] = "FOLDER"
    takes: ClassVar[str] = "Folder with SET.csv and SET/, or the records of `cakd data pack-landmarks`."
    sides: ClassVar[tuple[int, ...]] = (112, 192)

    subset: str = "test"

    def measure(self, network: "Embed", data: Sequence[Path], execution: "Execution") -> Result:
        """Return the errors on the set."""
        from insightface_cakd.evaluate.landmarks.measure import measure_set

        if len(data) != 1:
            raise EvaluationError(f"landmarks: {len(data)} folders; expected one, with the set {self.subset}. Name it.")
        return measure_set(network, data[0], self.subset, execution)
