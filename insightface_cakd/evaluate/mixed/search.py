"""Closed-set identification under mixed enrolment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.data.folders import find_people
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.identify.folders import Faults, embed_files
from insightface_cakd.evaluate.mixed.mixed import Combination, Combinations, Embedded, mixed_ranks, require_one_space
from insightface_cakd.evaluate.pairs.bootstrap import Interval, mean_interval
from insightface_cakd.networks.models import Embed
from insightface_cakd.report.result import Result
from insightface_cakd.report.tables import Row


@dataclass(frozen=True, eq=False)
class Found:
    """Which probes are identified in one combination.

    Args:
        first: bool (P,), whether each probe's own entry is the nearest.
    """

    models: Combination
    first: np.ndarray


@dataclass(frozen=True, eq=False)
class Searched(Result):
    """Which probes are identified in each combination."""

    name: str
    found: Combinations[Found]
    enrolled: int

    @property
    def verdict(self) -> str:
        """What keeping the gallery costs."""
        return self.lines()[0]

    @property
    def loss(self) -> tuple[float, Interval]:
        """Rank-1 lost by keeping the gallery instead of enrolling everyone again.

        The interval is by bootstrap over the probes.
        """
        lost = self.found.student_alone.first.astype(float) - self.found.kept.first
        return float(lost.mean()), mean_interval(lost)

    def rows(self) -> list[Row]:
        """Return one row per combination."""
        return [
            {
                "people": self.name,
                "enrolment": one.models.title,
                "enrolled": str(self.enrolled),
                "probes": str(len(one.first)),
                "rank-1": f"{100 * one.first.mean():.2f} %",
                "95 %": mean_interval(one.first.astype(float)).points(),
            }
            for one in self.found
        ]

    def lines(self) -> list[str]:
        """Return the closing sentence: the drop, its interval, and what follows."""
        kept, (loss, interval) = self.found.kept.models, self.loss
        return [
            f"{self.name}: keeping the gallery of {kept.gallery} under probes of {kept.probe} costs {100 * loss:.2f} points "
            f"{interval.points()} of rank-1 among {self.enrolled} against enrolling again; {verdict(interval)}."
        ]

    def facts(self) -> dict[str, Any]:
        """Return the numbers."""
        loss, interval = self.loss
        return {
            "name": self.name,
            "enrolled": self.enrolled,
            "probes": len(self.found.kept.first),
            "rank1": [{**vars(one.models), "rank1": float(one.first.mean())} for one in self.found],
            "loss": loss,
            "loss_interval": [interval.low, interval.high],
        }


def search_people(
    teacher: tuple[str, Embed], student: tuple[str, Embed], folder: Path, execution: Execution, faults: Faults
) -> Searched:
    """Enrol each person's first picture, and search with the others."""
    images = find_people(folder).images
    files = [path for person in images for path in person]
    people = np.repeat(np.arange(len(images)), [len(person) for person in images])
    first, rows = _embed(teacher, files, execution, faults)
    # The second model needs the same pictures; unreadable ones are known by now.
    left = [files[place] for place in first]
    _, others = _embed(student, left, execution, faults)
    _, at, shown = np.unique(people[first], return_index=True, return_inverse=True)
    asking = np.setdiff1d(np.arange(len(left)), at)
    if not len(asking):
        raise EvaluationError(
            f"{folder}: {len(at)} people, none with two pictures; expected one to enrol and one to search. Add pictures."
        )
    models = Embedded(teacher[0], rows[at], rows[asking]), Embedded(student[0], others[at], others[asking])
    require_one_space(*models)

    def find(old: Embedded, new: Embedded) -> Found:
        ranks = mixed_ranks(old.gallery, new.probe, shown[asking])
        return Found(Combination(old.name, new.name), ranks == 0)

    return Searched(folder.name, Combinations.of(*models, find), len(at))


def verdict(loss: Interval) -> str:
    """Return in words what follows from the interval of a loss."""
    if loss.low > 0:
        return "the loss is real: enrol again, or accept it"
    if loss.high < 0:
        return "the old gallery is the better one: keep it"
    return "the interval holds 0: these data show no need to enrol again"


def _embed(
    model: tuple[str, Embed], files: Sequence[Path], execution: Execution, faults: Faults
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and embeddings of the files that can be read."""
    name, embed = model
    with execution.bar(name) as progress:
        found = list(embed_files(embed, files, execution, faults, progress))
    if not found:
        raise EvaluationError("mixed enrolment: no picture can be read; expected aligned faces. Correct the folder.")
    return np.concatenate([places for places, _ in found]), np.concatenate([rows for _, rows in found])
