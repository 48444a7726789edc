"""Closed-set identification under mixed enrolment: everyone who asks is enrolled, by the same or by the other model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.data.folders import find_people
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.identify.folders import Faults, embed_files
from insightface_cakd.evaluate.mixed.mixed import Constellation, Embedded, constellations, mixed_ranks
from insightface_cakd.evaluate.pairs.bootstrap import Interval, mean_interval
from insightface_cakd.evaluate.pairs.sets import Way
from insightface_cakd.networks.models import Embed
from insightface_cakd.report.run_report import Row


@dataclass(frozen=True, eq=False)
class Searched:
    """Who is found first in each constellation.

    Args:
        name: of the data.
        first: teacher alone, student alone, teacher's gallery with student's probe, the reverse -> whether each probe's
            own entry is the nearest, bool (P,).
        enrolled: persons in the gallery.
    """

    name: str
    first: dict[Constellation, np.ndarray]
    enrolled: int

    @property
    def loss(self) -> tuple[float, Interval]:
        """What keeping the teacher's gallery costs of rank-1 against enrolling again, by bootstrap over the probes."""
        _, again, kept, _ = self.first.values()
        lost = again.astype(float) - kept
        return float(lost.mean()), mean_interval(lost)

    def sentence(self) -> str:
        """Return the closing sentence: the drop, its interval, and what follows."""
        _, _, kept, _ = self.first
        loss, interval = self.loss
        return (
            f"{self.name}: keeping the gallery of {kept.gallery} under probes of {kept.probe} costs {100 * loss:.2f} points "
            f"{interval.points()} of rank-1 among {self.enrolled} against enrolling again; {verdict(interval)}."
        )


def search(name: str, models: tuple[Embedded, Embedded], own: np.ndarray) -> Searched:
    """Search every probe in all four constellations.

    Args:
        name: of the data.
        models: gallery and probes by the model that enrolled, and the same pictures by the other.
        own: place in the gallery of each probe's person, (P,).

    Raises:
        EvaluationError: the embeddings are of different widths or not finite.
    """
    found = {who: mixed_ranks(gallery, probe, own) == 0 for who, (gallery, probe) in constellations(*models).items()}
    return Searched(name, found, len(models[0].gallery))


def search_people(
    teacher: tuple[str, Embed], student: tuple[str, Embed], folder: Path, way: Way, faults: Faults
) -> Searched:
    """Enrol the first picture of every person of a folder, and search with the others.

    Args:
        teacher: name and model of who enrolled.
        student: name and model of who is to ask.
        folder: one subfolder a person.
        way: how to run.
        faults: counts pictures that are left out.

    Raises:
        DataError: no such folder, or a picture cannot be read.
        EvaluationError: nobody has two pictures, or the embeddings are of different widths.
    """
    images = find_people(folder).images
    files = [path for person in images for path in person]
    people = np.repeat(np.arange(len(images)), [len(person) for person in images])
    first, rows = _embed(teacher, files, way, faults)
    # The second model needs the same pictures: what could not be read is known by now.
    left = [files[place] for place in first]
    _, others = _embed(student, left, way, faults)
    _, at, shown = np.unique(people[first], return_index=True, return_inverse=True)
    asking = np.setdiff1d(np.arange(len(left)), at)
    if not len(asking):
        raise EvaluationError(
            f"{folder}: {len(at)} people, none with two pictures; expected one to enrol and one to search. Add pictures."
        )
    old = Embedded(teacher[0], rows[at], rows[asking])
    new = Embedded(student[0], others[at], others[asking])
    return search(folder.name, (old, new), shown[asking])


def search_rows(found: Searched) -> list[Row]:
    """Return the table: a row a constellation."""
    return [
        {
            "people": found.name,
            "enrolment": who.title,
            "enrolled": str(found.enrolled),
            "probes": str(len(first)),
            "rank-1": f"{100 * first.mean():.2f} %",
            "95 %": mean_interval(first.astype(float)).points(),
        }
        for who, first in found.first.items()
    ]


def search_facts(found: Searched) -> dict[str, Any]:
    """Return the numbers as what JSON can hold."""
    loss, interval = found.loss
    return {
        "name": found.name,
        "enrolled": found.enrolled,
        "probes": len(next(iter(found.first.values()))),
        "rank1": [
            {"gallery": who.gallery, "probe": who.probe, "rank1": float(first.mean())}
            for who, first in found.first.items()
        ],
        "loss": loss,
        "loss_interval": [interval.low, interval.high],
    }


def verdict(loss: Interval) -> str:
    """Return what follows from the interval of a loss."""
    if loss.low > 0:
        return "the loss is real: enrol again, or accept it"
    if loss.high < 0:
        return "the old gallery is the better one: keep it"
    return "the interval holds 0: these data show no need to enrol again"


def _embed(model: tuple[str, Embed], files: Sequence[Path], way: Way, faults: Faults) -> tuple[np.ndarray, np.ndarray]:
    """Return places and embeddings of the files that can be read."""
    name, embed = model
    with way.bar(name) as progress:
        found = list(embed_files(embed, files, way, faults, progress))
    if not found:
        raise EvaluationError("mixed enrolment: no picture can be read; expected aligned faces. Correct the folder.")
    return np.concatenate([places for places, _ in found]), np.concatenate([rows for _, rows in found])
