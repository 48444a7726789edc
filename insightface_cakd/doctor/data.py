"""Examination of the training images and verification sets of a config."""

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import numpy as np

from insightface_cakd.data.bins import read_bin
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.hosts.embedded.dataset import open_faces
from insightface_cakd.hosts.preflight import ALL_LABELS, SAMPLED_LABELS
from insightface_cakd.runtime.findings import Finding, note, ok, problem


def examine_faces(rec: str, num_classes: object = None) -> Generator[Finding, None, None]:
    """Count training images and people; decode the first and last image.

    Args:
        rec: "synthetic", a folder with train.rec, or a folder with one subfolder per person.
        num_classes: the config's num_classes, if given; compared with the number of people.
    """
    faces = open_faces(rec)
    people = faces.num_classes
    if isinstance(faces, FaceRecords):
        people = yield from _records(faces, rec)
    else:
        yield ok(f"{rec}: {len(faces)} images of {people} people")
    if isinstance(num_classes, int) and rec != "synthetic" and people < num_classes:
        yield note(
            f"{rec}: {people} people, num_classes is {num_classes}: {num_classes - people} class centres get no image."
        )
    for row in {0, len(faces) - 1}:
        faces[row]


def _records(faces: FaceRecords, rec: str) -> Generator[Finding, None, int]:
    """Examine the labels of a record file; return the number of people.

    All labels of a file are read up to `ALL_LABELS` images, else an evenly spaced sample of `SAMPLED_LABELS`.
    """
    whole = len(faces) <= ALL_LABELS
    rows = np.arange(len(faces)) if whole else np.linspace(0, len(faces) - 1, SAMPLED_LABELS).astype(np.int64)
    labels = faces.labels() if whole else faces.reader.scan(faces.keys[rows])["label"]
    highest = int(labels.max())
    seen = "" if whole else f", of {len(rows)} read"
    people = faces.num_classes if faces.header is not None else highest + 1
    yield ok(f"{rec}: {len(faces)} images of {people} people, labels {int(labels.min())} to {highest}{seen}")
    if highest >= people:
        yield note(
            f"{rec}: train.rec's header counts {people} people, fewer than there are labels. Pack the data again."
        )
    return highest + 1 if whole else max(people, highest + 1)


def examine_sets(val_targets: Iterable[str], rec: str) -> Iterator[Finding]:
    """Look for a config's verification sets beside the training images."""
    names = list(val_targets)
    if not names:
        yield note(
            "val_targets: empty, the run verifies nothing. Name a set that lies beside train.rec, for example lfw."
        )
    for name in names:
        path = Path(rec) / f"{name}.bin"
        if path.is_file():
            _, same = read_bin(path)
            yield ok(f"val_targets: {path.name}, {len(same)} pairs")
            continue
        # arcface_torch skips a missing set without a message.
        found = ", ".join(sorted(file.stem for file in Path(rec).glob("*.bin"))) or "none"
        yield problem(
            f"val_targets: {path} does not exist, found: {found}; expected the set. Remove {name} from val_targets, or make it with "
            "`cakd data make-bin`."
        )
