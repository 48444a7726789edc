"""Reads a teacher's class centres."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.answers import Answers
from insightface_cakd.data.label_order import LABELS
from insightface_cakd.data.prototypes import META, Prototypes
from insightface_cakd.errors import TeacherError, in_one_line
from insightface_cakd.networks.weights import existing_file, read_tensors
from insightface_cakd.runtime.tensor_file import oddity

HEAD, WEIGHT = "state_dict_softmax_fc", "weight"


class ClassCentres:
    """A teacher's class centres, which stay in their files.

    The files are mapped into memory, so that a rank that takes its own rows holds no others.

    Args:
        shards: parts of the rows in their order, (C_k, D) each, of any float type.
    """

    def __init__(self, shards: Sequence[Tensor]) -> None:
        self._shards = tuple(shards)
        self.shape = (sum(map(len, shards)), shards[0].shape[1])

    def rows(self, start: int = 0, end: int | None = None) -> Tensor:
        """Return a copy of the rows from `start` to before `end`.

        Args:
            start: the first row.
            end: the row after the last; all when not given.

        Shape:
            Returns (end - start, D), of torch's default type, not normalised.
        """
        wanted = range(self.shape[0])[start:end]
        # Of the kind of the shards, which may be tensors without data.
        found = self._shards[0].new_empty(len(wanted), self.shape[1], dtype=torch.get_default_dtype())
        first = 0
        for shard in self._shards:
            low, high = max(wanted.start, first), min(wanted.stop, first + len(shard))
            if low < high:
                found[low - wanted.start : high - wanted.start] = shard[low - first : high - first]
            first += len(shard)
        return found

    def check(self, where: str, fix: str) -> None:
        """Refuse centres that say nothing: not finite, zero, or all the same.

        Args:
            where: beginning of the error message.
            fix: end of the error message.
        """
        seen = Answers(where, fix)
        for shard in self._shards:
            seen.add(shard)
        seen.require_different()


def load_centres(paths: Iterable[str]) -> ClassCentres:
    """Join the shards of a teacher's head, given in rank order.

    Each path is a head file (`weight`), a training checkpoint (`state_dict_softmax_fc`), or a folder of prototypes.
    """
    shards: list[Tensor] = []
    for number, path in enumerate(paths):
        where = f"teacher.centres[{number}]"
        if holds_prototypes(path):
            shards.append(_unwritten(Prototypes.open(path, where).rows))
        else:
            file = existing_file(path, where, "Correct teacher.centres, or pass --centres FILE.")
            where = f"{where} {file}"
            shards.append(_read_shard(read_tensors(file, where, mapped=True), where))
        if shards[-1].shape[1] != shards[0].shape[1]:
            raise TeacherError(
                f"{where}: its rows have {shards[-1].shape[1]} values, those of the first file {shards[0].shape[1]}; "
                "expected shards of one head. Correct teacher.centres."
            )
    if not shards:
        raise TeacherError(
            "teacher.centres: is empty; expected the files of the teacher's head, in rank order. Pass --centres FILE."
        )
    centres = ClassCentres(shards)
    centres.check("teacher.centres", "Expected the head of the teacher that is meant: correct teacher.centres.")
    return centres


def holds_prototypes(path: str) -> bool:
    """Return whether a path of class centres is a folder of prototypes."""
    return (Path(path).expanduser() / META).is_file()


def labels_of(path: str) -> Any:
    """Return whose labels the rows of a training checkpoint have.

    None where the file does not say; that it cannot be read is for `load_centres` to say.
    """
    try:
        content = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True, mmap=True)
    # As in `read_tensors`, damaged bytes raise nearly anything.
    except Exception:
        return None
    return content.get(LABELS) if isinstance(content, dict) else None


def _read_shard(content: dict[str, object], where: str) -> Tensor:
    head = content.get(HEAD, content)
    weight = head.get(WEIGHT, content.get(f"{HEAD}.{WEIGHT}")) if isinstance(head, dict) else None
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        keys = in_one_line(", ".join(map(str, list(content)[:4])))[:200] or "no keys"
        raise TeacherError(
            f"{where}: holds {keys}; expected `{WEIGHT}` or `{HEAD}.{WEIGHT}` of shape (classes, D). Is it a head's "
            "file?"
        )
    if (odd := oddity(weight)) is not None:
        raise TeacherError(
            f"{where}: `{WEIGHT}` is {odd}; expected a dense tensor of real numbers. Save the head's own state dict."
        )
    return weight


def _unwritten(rows: np.ndarray) -> Tensor:
    """Return rows of a file that may only be read as a tensor on the same memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(rows)
