"""Whether the training images and verification sets are there, and fit a config."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from insightface_cakd.data.bins import read_bin
from insightface_cakd.data.records import FaceRecords, label_fault
from insightface_cakd.doctor.findings import Finding, note, ok, problem, refusals
from insightface_cakd.errors import CAKDError
from insightface_cakd.evaluate.pairs.verification import require_kinds
from insightface_cakd.hosts.preflight import ALL_LABELS, SAMPLED_LABELS


def examine_records(faces: FaceRecords, folder: str, num_classes: int | None = None) -> Iterator[Finding]:
    """Look at the labels of a record file, of a large one at a sample, and decode its first and its last image.

    Args:
        faces: opened.
        folder: where it is.
        num_classes: of the config.
    """
    whole = len(faces) <= ALL_LABELS
    rows = np.arange(len(faces)) if whole else np.linspace(0, len(faces) - 1, SAMPLED_LABELS).astype(np.int64)
    labels = faces.reader.scan(faces.keys[rows])["label"]
    faults = (label_fault(label) for label in labels)
    first = next(((row, fault) for row, fault in zip(rows, faults, strict=True) if fault), None)
    if first is not None:
        yield problem(
            f"{faces.reader.where(int(faces.keys[first[0]]))}: {first[1]}. `cakd data check {folder}` lists all."
        )
        return
    highest = int(labels.max())
    seen = "" if whole else f", of {len(rows)} read"
    people = faces.num_classes if faces.header is not None else highest + 1
    yield ok(f"{folder}: {len(faces)} images of {people} people, labels {int(labels.min())} to {highest}{seen}")
    if highest >= people:
        yield note(
            f"{folder}: train.rec's header counts {people} people, fewer than there are labels. Pack the data again."
        )
    classes = highest + 1 if whole else max(people, highest + 1)
    if num_classes is not None and classes > num_classes:
        yield problem(
            f"{folder}: labels up to {classes - 1}, num_classes is {num_classes}; expected labels below num_classes. "
            f"Set num_classes={classes}."
        )
    elif num_classes is not None and classes < num_classes:
        yield note(
            f"{folder}: {classes} people, num_classes is {num_classes}: {num_classes - classes} class centres get no image."
        )
    yield from refusals(*(lambda row=row: faces[row] for row in {0, len(faces) - 1}))


def examine_sets(val_targets: Iterable[str], rec: str, judge: Callable[[Path], None]) -> Iterator[Finding]:
    """Look for the verification sets of a config beside the training images.

    Args:
        val_targets: names of the sets.
        rec: the folder.
        judge: refuses a set on which the host's verification would stop.
    """
    names = list(val_targets)
    if not names:
        yield note(
            "val_targets: empty, the run verifies nothing. Name a set that lies beside train.rec, for example lfw."
        )
    elif rec != "synthetic" and not Path(rec).is_dir():
        yield note(f"val_targets: {', '.join(names)} not looked for, since {rec} is no folder.")
        return
    for name in names:
        path = Path(rec) / f"{name}.bin"
        if path.is_file():
            yield from _set(path, judge)
            continue
        found = ", ".join(sorted(file.stem for file in Path(rec).glob("*.bin"))) or "none"
        yield problem(
            f"val_targets: {path} does not exist, found: {found}; expected the set. Remove {name} from val_targets, or make it with "
            "`cakd data make-bin`."
        )


def judge_set(path: Path) -> None:
    """Check that the embedded host can judge a set.

    Raises:
        DataError, EvaluationError: it is damaged, or too small.
    """
    _, same = read_bin(path)
    require_kinds(np.array(same, bool), str(path))


def _set(path: Path, judge: Callable[[Path], None]) -> Iterator[Finding]:
    try:
        judge(path)
        _, same = read_bin(path)
    except CAKDError as error:
        yield problem(str(error))
        return
    yield ok(f"val_targets: {path.name}, {len(same)} pairs")
