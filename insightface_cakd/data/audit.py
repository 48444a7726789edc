"""Walks through a record file and finds everything wrong with it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from insightface_cakd.data.framing import read_framed
from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.images import FACE_SIZE, decode_rgb
from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordReader
from insightface_cakd.data.records import FLOAT32_EXACT, label_fault, read_header
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.progress import Progress

SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One problem of a record file; an `error` harms the training.

    Args:
        kind: a short name, the same for all findings of one kind.
        message: one line, with record key and offset if it is about one record.
    """

    severity: Literal["error", "warning"]
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}"


class Audit:
    """Reads a record file and collects findings; `folder` may hold `property`."""

    def __init__(self, reader: RecordReader, folder: Path, num_classes: int | None):
        self._reader, self._folder = reader, folder
        self._findings: list[Finding] = []
        self._kinds: Counter[str] = Counter()
        self._images: dict[int, float] = {}  # key -> label
        self._bare: dict[int, Record] = {}  # key -> record without an image
        self._header: tuple[int, int] | None = None
        try:
            self._header = read_header(reader)
        except DataError as error:
            self._add("header", str(error))
        stated = self._header[1] - self._header[0] if self._header else 0
        self._num_classes = num_classes if num_classes is not None else stated or None

    def _add(self, kind: str, message: str, severity: Literal["error", "warning"] = "error") -> None:
        self._kinds[kind] += 1
        if self._kinds[kind] <= SHOWN:
            self._findings.append(Finding(severity, kind, message))

    def read_all(self, progress: Progress | None) -> None:
        """Read every record, after a damaged one from the next indexed offset."""
        size = self._reader.path.stat().st_size
        keys = dict(zip(self._reader.offsets.tolist(), self._reader.keys.tolist(), strict=True))
        following = np.unique(self._reader.offsets)
        offset, met = 0, set()
        while offset < size:
            key = keys.get(offset)
            met.add(offset)
            offset = self._visit(key, offset, following, size)
            if progress:
                progress(min(offset, size), size)
        for missed in sorted(set(keys) - met):
            fault = "no record begins there. Make the index anew"
            if missed >= size:
                fault = "the file ends before it. Copy it again"
            self._add("index", f"{self._name(keys[missed], missed)}: {fault}.")

    def _visit(self, key: int | None, offset: int, following: np.ndarray, size: int) -> int:
        """Check the record at `offset` and return the offset behind it."""
        where = self._name(key, offset)
        try:
            data, behind = read_framed(self._reader.descriptor(), offset, where)
        except DataError as error:
            self._add("damaged", str(error))
            later = following[following > offset]
            return int(later[0]) if len(later) else size
        if key is None:
            self._add("index", f"{where}: the index has no line for it. Make the index anew.")
            return behind
        try:
            self._look_at(key, where, Record.from_bytes(data, where))
        except DataError as error:
            self._add("damaged", str(error))
        return behind

    def _name(self, key: int | None, offset: int) -> str:
        return f"{self._reader.path}: record {'without key' if key is None else key} at offset {offset}"

    def _look_at(self, key: int, where: str, record: Record) -> None:
        if not record.payload and self._header and (key == 0 or key >= self._header[0]):
            self._bare[key] = record
            return
        self._images[key] = record.labels[0]
        label = record.labels[0]
        fault = label_fault(label)
        if not fault and self._num_classes is not None and label >= self._num_classes:
            fault = f"label {label:g}; expected less than {self._num_classes}, the number of classes"
        if fault:
            self._add("label", f"{where}: {fault}.")
        if fault := image_fault(record.payload):
            self._add("image", f"{where}: {fault}. Pack again without it.")
            return
        try:
            height, width = decode_rgb(record.payload, where).shape[:2]
        except DataError as error:
            self._add("image", str(error))
            return
        if (width, height) != (FACE_SIZE, FACE_SIZE):
            found = f"{where}: {width} x {height} pixels"
            self._add("size", f"{found}; expected 112 x 112. Align the faces and pack again.")

    def conclude(self) -> list[Finding]:
        """Compare records, header, index and `property`, and return all findings."""
        self._look_at_keys()
        self._look_at_classes()
        self._look_at_identities()
        self._look_at_property()
        for kind, count in self._kinds.items():
            if count > SHOWN:
                last = max(i for i, finding in enumerate(self._findings) if finding.kind == kind)
                severity = self._findings[last].severity
                self._findings.insert(last + 1, Finding(severity, kind, f"{kind}: {count - SHOWN} more of this kind"))
        return self._findings

    def _look_at_keys(self) -> None:
        values, times = np.unique(self._reader.keys, return_counts=True)
        index = self._reader.index_path
        for key in values[times > 1][: SHOWN + 1]:
            self._add("index", f"{index}: key {key} stands there more than once. Make the index anew.")
        first, behind = (1, self._header[0]) if self._header else (0, int(values[-1]) + 1)
        images = values[(values >= first) & (values < behind)]
        missing = behind - first - len(images)
        if not missing:
            return
        gap = first + int(np.argmax(np.append(images, behind) != np.arange(first, first + len(images) + 1)))
        message = f"{index}: {missing} keys are missing between {first} and {behind - 1}, first {gap}"
        if self._header is not None:
            self._add("gap", f"{message}; the header counts them as images. Pack again.")
        else:
            self._add("gap", f"{message}; arcface_torch's own reader needs key 0, others may lack.", "warning")

    def _look_at_classes(self) -> None:
        labels = np.array([label for label in self._images.values() if not label_fault(label)], np.int64)
        if not len(labels):
            self._add("image", f"{self._reader.path}: no image with a label. Pack again.")
            return
        count = max(self._num_classes or 0, int(labels.max()) + 1)
        # Not a list of all classes, of which a header or a user may count any number.
        present = np.unique(labels)
        empty = count - len(present)
        if empty:
            first = int(np.argmax(np.append(present, -1) != np.arange(len(present) + 1)))
            message = f"{self._reader.path}: {empty} of {count} classes have no image, first {first}. "
            self._add("class", f"{message}Their centres are trained as negatives only.", "warning")

    def _look_at_identities(self) -> None:
        """Check that each identity record gives the keys of one person's images."""
        if self._header is None or self._header[0] > FLOAT32_EXACT:
            return
        person = np.array([self._images.get(image, np.nan) for image in range(self._header[0])])
        # Changes before each image: a range without one is one person's, however many ranges there are.
        changes = np.cumsum(np.append(True, person[1:] != person[:-1]))
        for key in sorted(self._bare.keys() - {0}):
            labels = self._bare[key].labels
            first, behind = (int(value) if 0 < value <= FLOAT32_EXACT else 0 for value in (*labels, 0.0)[:2])
            inside = 0 < first < behind <= self._header[0]
            if not inside or np.isnan(person[first]) or changes[first] != changes[behind - 1]:
                keys = f"{self._reader.where(key)}: keys {first} to {behind - 1}"
                self._add("identity", f"{keys} are not one person's images. Pack again.", "warning")

    def _look_at_property(self) -> None:
        path = self._folder / "property"
        if not path.is_file():
            return
        fields = path.read_text(encoding="utf-8", errors="replace").split("\n")[0].strip().split(",")
        expected = self._num_classes
        if expected is not None and fields[0] != str(expected):
            message = f"{path}: says {fields[0]:.20} classes; expected {expected}. Write `{expected},112,112`."
            self._add("property", message, "warning")
