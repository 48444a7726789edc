"""Which person has which label: kept with what was trained on it."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from insightface_cakd.data.data_set_hash import Stored, sample_hash
from insightface_cakd.data.face_folder import open_face_folder
from insightface_cakd.errors import CAKDError

# Its key in checkpoints and in the metadata of prototypes.
LABELS = "labels"
# Images of a set that are read.
SAMPLED = 512
_SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class LabelOrder:
    """The identity of a labelling.

    Args:
        data: where it was, for errors.
        classes: people, None where only all labels tell it.
        names: sha256 of the people's names in the order of their labels; None for records, which have no names.
        sample: sha256 of the label and content of up to 512 evenly spaced images, and of their number.
    """

    data: str
    classes: int | None
    names: str | None
    sample: str

    def fits(self, other: "LabelOrder") -> bool:
        """Return whether both label the same people alike.

        Names decide where both have them, whatever images were added. Otherwise the sample does: a folder of people and what `cakd data
        pack` makes of it fit, where packing keeps the bytes.
        """
        if None not in (self.classes, other.classes) and self.classes != other.classes:
            return False
        if self.names is not None and other.names is not None:
            return self.names == other.names
        return self.sample == other.sample


def order_of(faces: Stored, data: str) -> LabelOrder:
    """Return the identity of an opened set's labelling; few images are read.

    Args:
        faces: records or folders of people.
        data: where they are.
    """
    names = None if faces.names is None else hashlib.sha256("\n".join(faces.names).encode("utf-8", "surrogateescape"))
    return LabelOrder(
        str(Path(data).absolute()),
        faces.stated_classes,
        None if names is None else names.hexdigest(),
        sample_hash(faces, SAMPLED),
    )


def label_order(data: str | Path) -> LabelOrder | None:
    """Return the identity of a training set's labelling.

    None for data in which nobody has a label: noise.
    """
    return None if str(data) == _SYNTHETIC else order_of(open_face_folder(data), str(data))


def as_saved(order: LabelOrder | None) -> dict[str, Any] | None:
    """Return it as plain values."""
    return None if order is None else asdict(order)


def check_labels(saved: Any, now: LabelOrder | None, where: str, kind: type[CAKDError], fix: str) -> None:
    """Refuse what was made with other labels.

    Args:
        saved: as from `as_saved`; None, or what cannot be understood, is not compared.
        now: of the run's data; None is not compared.
        where: names what was saved.
        kind: of the error.
        fix: its last sentence.

    Raises:
        CAKDError: the labels are others.
    """
    before = _read(saved)
    if before is None or now is None or before.fits(now):
        return
    raise kind(
        f"{where}: made on {_said(before)}, the data are {_said(now)} now, and their labels stand for other people; expected the same "
        f"labels. {fix}"
    )


def _read(saved: Any) -> LabelOrder | None:
    known = set(LabelOrder.__dataclass_fields__)
    return LabelOrder(**saved) if isinstance(saved, Mapping) and set(saved) == known else None


def _said(order: LabelOrder) -> str:
    count = "" if order.classes is None else f"{order.classes} people, "
    return f"{order.data} ({count}labels {(order.names or order.sample)[:8]})"
