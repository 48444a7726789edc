"""Live and spoofed faces of several domains, in a folder."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from insightface_cakd.data.folders import IMAGE_SUFFIXES, is_litter, natural_key, require_new_folder, writing
from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.images import FACE_SIZE, decode_rgb, encode_jpeg, read_bytes
from insightface_cakd.errors import DataError, did_you_mean
from insightface_cakd.runtime.atomic import require_new
from insightface_cakd.runtime.reading import read_text, reading

LIST = "liveness.csv"
COLUMNS = ["file", "live", "domain", "video"]
KINDS = ("spoof", "live")
_LINES = "lines `path 0|1 domain [video]`."
_LAYOUT = f"expected <domain>/live/ and <domain>/spoof/ with images, or a packed folder with {LIST}."


@dataclass(frozen=True)
class LiveFaces:
    """Faces with their kind, domain and video.

    Args:
        folder: the files are relative to it.
        live: (N,), 1 live, 0 spoof.
        domain: (N,), index into `domains`.
        videos: frames of one video have one name within a domain; an image without a video has a name of its own.
    """

    folder: Path
    files: tuple[str, ...]
    live: np.ndarray
    domain: np.ndarray
    domains: tuple[str, ...]
    videos: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int, size: int = FACE_SIZE) -> np.ndarray:
        """Return a face, uint8 (size, size, 3) RGB, stretched."""
        path = self.folder / self.files[index]
        return _stretched(decode_rgb(read_bytes(path), str(path), upright=True), size)

    def of(self, domains: Sequence[str]) -> "LiveFaces":
        """Return the faces of some domains, numbered as given.

        Raises:
            DataError: a domain is not known.
        """
        for name in domains:
            if name not in self.domains:
                raise DataError(
                    f"{self.folder}: no domain {name}; known: {', '.join(self.domains)}.{did_you_mean(name, self.domains)} "
                    "Correct the name."
                )
        number = np.array([list(domains).index(name) if name in domains else -1 for name in self.domains])[self.domain]
        kept = np.flatnonzero(number >= 0)
        files, videos = (tuple(names[i] for i in kept) for names in (self.files, self.videos))
        return LiveFaces(self.folder, files, self.live[kept], number[kept], tuple(domains), videos)

    def require_both_kinds(self, domains: int = 1) -> "LiveFaces":
        """Return these faces after checking that every domain has both kinds.

        Args:
            domains: the least number of domains.

        Raises:
            DataError: a domain has one kind only, or there are too few domains.
        """
        if len(self.domains) < domains:
            raise DataError(
                f"{self.folder}: {len(self.domains)} domain to learn from ({', '.join(self.domains)}); expected at least {domains}. "
                "Add a domain, or hold out fewer."
            )
        for index, name in enumerate(self.domains):
            kinds = set(self.live[self.domain == index].tolist())
            if len(kinds) < 2:
                there = KINDS[next(iter(kinds))] if kinds else "no"
                raise DataError(
                    f"{self.folder}: domain {name} has {there} faces only; expected live and spoof ones. Add the other kind, "
                    "or leave it out."
                )
        return self


def read_liveness(folder: Path) -> LiveFaces:
    """Read a packed folder, or `<domain>/{live,spoof}/`.

    Domains are in natural order.

    Raises:
        DataError: there is neither, or a line of the list cannot be read.
    """
    if (folder / LIST).is_file():
        return _collected(folder, _read_list(folder / LIST))
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {_LAYOUT} Check the path.")
    rows = [
        (str(path.relative_to(folder)), KINDS.index(kind), domain.name, "")
        for domain in sorted(folder.iterdir(), key=natural_key)
        if not is_litter(domain)
        for kind in KINDS
        for path in sorted((domain / kind).glob("*"), key=natural_key)
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_litter(path)
    ]
    if not rows:
        raise DataError(f"{folder}: no faces; {_LAYOUT} Check the layout.")
    return _collected(folder, rows)


Row = tuple[str, int, str, str]


def _read_list(path: Path) -> list[Row]:
    with reading(
        path, DataError, f"{','.join(COLUMNS)} and a line for each face. Pack it again.", ValueError, csv.Error
    ):
        header, *rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if row] or [[]]
    if header != COLUMNS or not rows:
        raise DataError(
            f"{path}: {len(rows)} faces, the first line is {','.join(header)[:80]}; expected {','.join(COLUMNS)} and a line for each face. "
            "Pack it again."
        )
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS) or row[1] not in ("0", "1"):
            raise DataError(
                f"{path}: line {number} is {','.join(row)[:80]}; expected file,0|1,domain,video. Correct it."
            )
    return [(file, int(live), domain, video) for file, live, domain, video in rows]


def _collected(folder: Path, rows: Sequence[Row]) -> LiveFaces:
    domains = tuple(sorted({row[2] for row in rows}, key=lambda name: natural_key(Path(name))))
    number = np.array([domains.index(row[2]) for row in rows], np.int64)
    videos = tuple(row[3] or row[0] for row in rows)
    return LiveFaces(
        folder, tuple(r[0] for r in rows), np.array([r[1] for r in rows], np.int64), number, domains, videos
    )


def pack_liveness(source: Path, out: Path, live: int | None = None) -> LiveFaces:
    """Write faces and their list into a new folder.

    Args:
        source: `<domain>/{live,spoof}/`, or a text file of lines `path label domain [video]`, paths relative to it.
        out: the folder to create, with `liveness.csv`, in which 1 is always live.
        live: the label that means live in a list, 0 or 1; projects differ, so a list without it is refused.

    Raises:
        DataError: the polarity of a list is not said, a line or an image cannot be read, a domain has one kind only, or
            there is only one domain. Nothing is left behind.
    """
    if source.is_file():
        require_new(out, DataError)
        found = _from_list(source, live)
    else:
        require_new_folder(out, source)
        found = read_liveness(source)
    found.require_both_kinds(domains=2)
    with writing(out) as temporary:
        (temporary / "faces").mkdir(parents=True)
        rows = []
        for index, (file, kind, domain, video) in enumerate(
            zip(found.files, found.live.tolist(), found.domain.tolist(), found.videos, strict=True)
        ):
            name = f"faces/{index:06}.jpg"
            _write_face(found.folder / file, temporary / name)
            rows.append([name, kind, found.domains[domain], "" if video == file else video])
        with (temporary / LIST).open("w", newline="", encoding="utf-8") as lines:
            csv.writer(lines, lineterminator="\n").writerows([COLUMNS, *rows])
    return read_liveness(out)


def _stretched(rgb: np.ndarray, size: int) -> np.ndarray:
    if rgb.shape[:2] == (size, size):
        return rgb
    larger = max(rgb.shape[:2]) > size
    return cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA if larger else cv2.INTER_CUBIC)


def _write_face(source: Path, path: Path) -> None:
    data = read_bytes(source)
    if fault := image_fault(data):
        raise DataError(f"{source}: {fault}; expected a whole image. Replace or remove it.")
    rgb = decode_rgb(data, str(source), upright=True)
    if rgb.shape[:2] == (FACE_SIZE, FACE_SIZE) and source.suffix.lower() in (".jpg", ".jpeg"):
        # A second compression would change what tells a replay from a face.
        path.write_bytes(data)
    else:
        path.write_bytes(encode_jpeg(_stretched(rgb, FACE_SIZE)))


def _from_list(path: Path, live: int | None) -> LiveFaces:
    if live not in (0, 1):
        raise DataError(
            f"{path}: which label means live is not said; expected 0 or 1, projects differ. Pass --live 1 or --live 0."
        )
    rows: list[Row] = []
    for number, line in enumerate(read_text(path, DataError, f"{_LINES} Write them.").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) not in (3, 4) or parts[1] not in ("0", "1"):
            raise DataError(f"{path}: line {number} is {line[:80]!r}; expected `path 0|1 domain [video]`. Correct it.")
        rows.append((parts[0], int(int(parts[1]) == live), parts[2], parts[3] if len(parts) == 4 else ""))
    if not rows:
        raise DataError(f"{path}: no faces; expected {_LINES} Write them.")
    return _collected(path.parent, rows)
