"""Identification among distractors, from folders of pictures to a table."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.data.folders import find_people, image_files
from insightface_cakd.data.images import decode_rgb, face_bytes, read_bytes
from insightface_cakd.errors import DataError, EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.identify.protocol import Identified, identify
from insightface_cakd.evaluate.pairs.embeddings import embed_both
from insightface_cakd.networks.models import Embed
from insightface_cakd.report.result import Result
from insightface_cakd.report.tables import Row
from insightface_cakd.runtime.progress import Progress

# Pictures in memory at a time.
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures to search for, and those to search among.

    `people` numbers the person on each probe; `distractors` are in an order drawn from a seed. `alone` people were left
    out because they have one picture, `doubles` distractors because a probe has the same bytes.
    """

    probes: list[Path]
    people: list[int]
    distractors: list[Path]
    alone: int
    doubles: int


@dataclass
class Faults:
    """Counts pictures that cannot be used, up to a limit."""

    limit: int
    lines: list[str] = field(default_factory=list)

    def add(self, error: DataError) -> None:
        """Count one picture; raise its error if it is one too many."""
        self.lines.append(str(error))
        if len(self.lines) > self.limit:
            more = f" It is fault {len(self.lines)}; --max-corrupt {self.limit} allows no more." if self.limit else ""
            raise DataError(f"{error}{more}") from error


@dataclass(frozen=True, eq=False)
class IdentifiedFolders(Result):
    """The result of identification in folders, and pictures left out."""

    found: Identified
    pictures: Pictures
    left_out: Sequence[str]

    @property
    def verdict(self) -> str:
        """Rank-1 among all distractors."""
        last = self.found.ranked[-1]
        share = f"{100 * last.rank1:.2f} % {last.interval.points()}"
        return (
            f"Among {last.distractors} distractors, the person searched for is found first in {share} of the searches."
        )

    def rows(self) -> list[Row]:
        """Return one row per number of distractors."""
        return [
            {"distractors": str(one.distractors), "rank-1": f"{100 * one.rank1:.2f} %", "95 %": one.interval.points()}
            for one in self.found.ranked
        ]

    def lines(self) -> list[str]:
        """Return TAR against all distractors, and what was left out."""
        found, pictures = self.found, self.pictures
        rates = ", ".join(f"TAR@FAR={far:g} {100 * tar:.2f} %" for far, tar in found.tar.items() if tar is not None)
        missing = ", ".join(f"{far:g}" for far, tar in found.tar.items() if tar is None)
        lines = [f"{found.people} people, {found.pairs} pairs of their pictures; interval: bootstrap over the people."]
        lines += [f"Against all distractors: {rates}."] if rates else []
        if missing:
            lines.append(
                f"Not measured at FAR={missing}: {found.impostors} impostor scores support no FAR below "
                f"{1 / found.impostors:.2g}."
            )
        lines += [f"{pictures.alone} people with one picture left out."] if pictures.alone else []
        lines += [f"{pictures.doubles} distractors left out: a probe has the same bytes."] if pictures.doubles else []
        lines += [f"{len(self.left_out)} pictures left out: {' | '.join(self.left_out)}"] if self.left_out else []
        return lines

    def facts(self) -> dict[str, Any]:
        """Return the numbers."""
        found = self.found
        return {
            "people": found.people,
            "pairs": found.pairs,
            "impostors": found.impostors,
            "rank1": [
                {"distractors": one.distractors, "rank1": one.rank1, "interval": [one.interval.low, one.interval.high]}
                for one in found.ranked
            ],
            "tar_at_far": {f"{far:g}": tar for far, tar in found.tar.items()},
        }


def find_pictures(probes: Path, distractors: Path, seed: int = 0) -> Pictures:
    """List probes, one subfolder per person, and distractors at any depth.

    The same files and seed give the same order of the distractors. People with one picture are left out.
    """
    found = find_people(probes).images
    several = [images for images in found if len(images) > 1]
    if not several:
        raise EvaluationError(
            f"{probes}: {len(found)} people, none with two pictures; expected one to search and one to find. Add pictures."
        )
    if not distractors.is_dir():
        raise DataError(f"{distractors}: no such folder; expected faces of strangers. Check the path.")
    files = [path for path in image_files(distractors) if path.is_file()]
    known = {_digest(path) for images in several for path in images}
    strangers = [path for path in files if _digest(path) not in known]
    if not strangers:
        why = "all of them are probes" if files else "no pictures in it"
        raise EvaluationError(f"{distractors}: {why}; expected faces of people who are not among the probes. Add some.")
    order = np.random.default_rng(seed).permutation(len(strangers))
    return Pictures(
        [path for images in several for path in images],
        [person for person, images in enumerate(several) for _ in images],
        [strangers[place] for place in order],
        len(found) - len(several),
        len(files) - len(strangers),
    )


def identify_folders(embed: Embed, pictures: Pictures, execution: Execution, faults: Faults) -> IdentifiedFolders:
    """Embed pictures chunk by chunk, and identify the probes.

    The embedding of a picture is the sum of those of the picture and of its mirror image.
    """
    with execution.bar("probes") as progress:
        kept, rows = [], []
        for places, embeddings in embed_files(embed, pictures.probes, execution, faults, progress):
            kept += [pictures.people[place] for place in places]
            rows.append(embeddings)
    if not kept:
        raise EvaluationError("identification: no probe can be read; expected pictures. Correct the folder.")
    probes = np.concatenate(rows)
    readable = _readable(pictures.distractors, faults) if faults.limit else pictures.distractors
    with execution.bar("distractors") as progress:
        pieces = (found for _, found in embed_files(embed, readable, execution, faults, progress))
        found = identify(probes, kept, pieces, len(readable))
    return IdentifiedFolders(found, pictures, faults.lines)


def embed_files(
    embed: Embed, files: Sequence[Path], execution: Execution, faults: Faults, progress: Progress
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield positions and embeddings (n, D) of the readable files.

    An embedding is that of the picture plus that of its mirror image.
    """
    for start in range(0, len(files), CHUNK):
        places, faces = [], []
        for place in range(start, min(start + CHUNK, len(files))):
            face = _face(files[place], faults)
            if face is not None:
                places.append(place)
                faces.append(face)
        if faces:
            plain, mirrored = embed_both(
                embed, np.stack(faces), execution.device, execution.batch_size, shared=execution.shared
            )
            yield places, plain + mirrored
        progress(min(start + CHUNK, len(files)), len(files))


def _readable(files: Sequence[Path], faults: Faults) -> list[Path]:
    """Return the files that can be read: the first comparison needs the number of distractors."""
    return [path for path in files if _face(path, faults) is not None]


def _face(path: Path, faults: Faults) -> np.ndarray | None:
    try:
        return decode_rgb(face_bytes(path)[0], str(path))
    except DataError as error:
        faults.add(error)
        return None


def _digest(path: Path) -> bytes:
    return hashlib.sha256(read_bytes(path)).digest()
