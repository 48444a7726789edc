"""Reports which photos were aligned and which were left out."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from insightface_cakd.data.align.photo import CORRUPT, REASONS, Rules
from insightface_cakd.data.folders import first_names, skipped_line
from insightface_cakd.errors import DataError


@dataclass(frozen=True)
class LeftOut:
    """A photo without an aligned face, and one of `REASONS`."""

    photo: str
    reason: str
    detail: str


@dataclass
class Alignment:
    """The result for a folder of photos.

    Args:
        people: number of people with at least one face; 0 if the photos are not sorted by person.
        chosen_of_several: number of photos with several faces of which the policy chose one.
        without_faces: people none of whose photos gave a face.
        skipped: files that are not images by their suffix or lie in no person's folder, and folders without images.
    """

    photos: int
    aligned: int = 0
    people: int = 0
    chosen_of_several: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    without_faces: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def reasons(self) -> dict[str, int]:
        """Return the number of photos left out, for each reason that occurred."""
        counted = Counter(one.reason for one in self.left_out)
        return {reason: counted[reason] for reason in REASONS if counted[reason]}

    def as_json(self, rules: Rules, size: int, detector: dict[str, str]) -> dict[str, Any]:
        """Return the whole report.

        It has no time, number of workers or machine, so that the same work gives the same bytes. `detector` is the
        file's name and sha256.
        """
        return {
            "photos": self.photos,
            "aligned": self.aligned,
            "people": self.people,
            "chosen_of_several": self.chosen_of_several,
            "reasons": self.reasons(),
            "detector": detector,
            "rules": {**asdict(rules), "detector_size": size or "128 and 640"},
            "left_out": [asdict(one) for one in self.left_out],
            "people_without_faces": self.without_faces,
            "skipped": self.skipped,
        }

    def summary(self, out: Path, report: Path) -> str:
        """Return the counts and a few examples as lines."""
        people = f" of {self.people} people" if self.people else ""
        lines = [f"{out}: {self.aligned} faces{people} from {self.photos} photos"]
        if self.chosen_of_several:
            lines.append(f"several faces, one chosen: {self.chosen_of_several}")
        for reason, count in self.reasons().items():
            lines.append(f"left out, {reason}: {count} ({self.first(reason)})")
        if self.without_faces:
            lines.append(f"people without a face: {len(self.without_faces)} ({first_names(self.without_faces)})")
        if self.skipped:
            lines.append(skipped_line(self.skipped))
        return "\n".join([*lines, f"all of it: {report}"])

    def first(self, reason: str) -> str:
        """Return the first photos left out for a reason, with details."""
        named = [one for one in self.left_out if one.reason == reason]
        return first_names([f"{one.photo}: {one.detail}" if one.detail else one.photo for one in named])


def require_enough(alignment: Alignment, folder: Path, max_corrupt: float) -> None:
    """Raise if too many photos are damaged, or none gave a face."""
    corrupt = alignment.reasons().get(CORRUPT, 0)
    if corrupt > max_corrupt * alignment.photos:
        raise DataError(
            f"{folder}: {corrupt} of {alignment.photos} files are corrupt ({alignment.first(CORRUPT)}); expected at most "
            f"{100 * max_corrupt:g} %. Copy them again, or raise --max-corrupt-share."
        )
    if not alignment.aligned:
        why = ", ".join(f"{reason}: {count}" for reason, count in alignment.reasons().items())
        raise DataError(
            f"{folder}: none of {alignment.photos} photos gave a face ({why}); expected at least one. Lower --min-score "
            "or --min-face, or try another detector."
        )
