"""Where the local centres of a network look: heat maps, and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from insightface_cakd.data.images import FACE_SIZE

# Pixels per side, fine enough for any grid in use.
COARSE = 28
# A share below this is rounding: attention over the patches sums to 1 in float32 only.
NOTHING = 1e-4


@dataclass(frozen=True, eq=False)
class View:
    """Attention maps of the centres of one network, at one time.

    `side` is "student" or "teacher", `moment` "before training" or "after training". `maps` (faces, centres, rows, columns)
    are the share of a centre's attention that a patch gets; its patches and its tokens without a place sum to 1.
    """

    side: str
    moment: str
    maps: np.ndarray

    @property
    def elsewhere(self) -> float:
        """Mean share of attention to tokens without a place."""
        return float(np.clip(1 - self.maps.sum(axis=(-2, -1)).mean(), 0, 1))

    @property
    def patches(self) -> float:
        """Mean exponential entropy of a centre's attention over the patches.

        It is the number of patches that a centre looks at.
        """
        share = self.maps / np.maximum(self.maps.sum(axis=(-2, -1), keepdims=True), 1e-12)
        return float(np.exp(-(share * np.log(np.maximum(share, 1e-12))).sum(axis=(-2, -1))).mean())

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches."""
        return self.maps.shape[-2], self.maps.shape[-1]


def heat(maps: np.ndarray, size: int = FACE_SIZE) -> np.ndarray:
    """Return attention maps (..., rows, columns) as heat maps (..., size, size).

    The value is 1 where a pixel gets what it would get under uniform attention. A cell's value stands at its centre;
    between the centres the values are interpolated linearly.
    """
    rows, columns = maps.shape[-2:]
    flat = maps.reshape(-1, rows, columns).astype(np.float32) * (rows * columns)
    pictures = [cv2.resize(one, (size, size), interpolation=cv2.INTER_LINEAR) for one in flat]
    return np.stack(pictures).reshape(*maps.shape[:-2], size, size)


def centroids(maps: np.ndarray) -> np.ndarray:
    """Return each map's mean place (..., 2), x and y in pixels."""
    rows, columns = maps.shape[-2:]
    share = maps / np.maximum(maps.sum(axis=(-2, -1), keepdims=True), 1e-12)
    x = (np.arange(columns) + 0.5) * (FACE_SIZE / columns)
    y = (np.arange(rows) + 0.5) * (FACE_SIZE / rows)
    return np.stack([(share.sum(axis=-2) * x).sum(axis=-1), (share.sum(axis=-1) * y).sum(axis=-1)], axis=-1)


def peaks(maps: np.ndarray) -> np.ndarray:
    """Return each map's highest patch (..., 2), x and y in pixels."""
    rows, columns = maps.shape[-2:]
    row, column = np.divmod(maps.reshape(*maps.shape[:-2], -1).argmax(axis=-1), columns)
    return np.stack([(column + 0.5) * (FACE_SIZE / columns), (row + 0.5) * (FACE_SIZE / rows)], axis=-1)


def overlap(first: View, second: View) -> tuple[float, float]:
    """Return how much two networks look at the same places.

    The overlap is the sum over the face of the smaller share, averaged over centres and faces; tokens without a place do
    not count. Returns two numbers in [0, 1]: of a centre with the same centre, 1 where all maps are the same; and of a
    centre with the others, with which the first is to be compared.
    """
    ours, theirs = (heat(view.maps, COARSE).reshape(*view.maps.shape[:2], -1) for view in (first, second))
    ours, theirs = (picture / np.maximum(picture.sum(axis=-1, keepdims=True), 1e-12) for picture in (ours, theirs))
    count = ours.shape[1]
    shifts = [float(np.minimum(ours, np.roll(theirs, by, axis=1)).sum(axis=-1).mean()) for by in range(count)]
    return shifts[0], float(np.mean(shifts[1:])) if count > 1 else shifts[0]


def chosen(count: int, most: int) -> list[int]:
    """Return at most `most` numbers below `count`, spread to both ends."""
    if count <= most:
        return list(range(count))
    return [int(number) for number in np.linspace(0, count - 1, most).round()]


def sentences(views: Sequence[View], shown: Sequence[int]) -> list[str]:
    """Return the sentences of a caption about student and teacher.

    They compare the maps before and after training.
    """
    pairs = [(views[0], views[1]), (views[2], views[3])]
    faces, count = views[0].maps.shape[:2]
    which = f"All {count} centres" if len(shown) == count else f"{len(shown)} of {count} centres, evenly chosen"
    of = f"{faces} faces" if faces > 1 else "this face"
    lines = [
        f"{which}; the student's map has {_grid(views[0])} patches, the teacher's {_grid(views[2])}. Numbers are means over {of}."
    ]
    parts = [f"{old.side} {old.patches:.1f}, then {new.patches:.1f}" for old, new in pairs]
    lines.append(f"Patches that a centre looks at (exp of the entropy), before and after training: {'; '.join(parts)}.")
    parts = [_overlap(*sides) for sides in zip(*pairs, strict=True)]
    lines.append(f"Overlap of student's and teacher's maps of a centre: {parts[0]} before, {parts[1]} after training.")
    for old, new in pairs:
        if max(old.elsewhere, new.elsewhere) > NOTHING:
            lines.append(
                f"Of the {old.side}'s attention {old.elsewhere:.1%} before and {new.elsewhere:.1%} after training goes to tokens that have "
                "no place on the face (prompts); the maps show the rest."
            )
    return lines


def _overlap(student: View, teacher: View) -> str:
    same, other = overlap(student, teacher)
    return f"{same:.0%} ({other:.0%} with the maps of other centres)"


def _grid(view: View) -> str:
    return "x".join(map(str, view.grid))
