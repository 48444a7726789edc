"""The pairs that a model judges most wrongly, as faces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from insightface_cakd.data.images import encode_jpeg
from insightface_cakd.evaluate.pairs.verification import VerificationResult, fold_sizes
from insightface_cakd.report.result import Gallery, Tile

# Of each kind.
SHOWN = 6


@dataclass(frozen=True, eq=False)
class Mistake:
    """A pair that was judged wrong.

    Args:
        where: the set.
        faces: uint8 (2, 112, 112, 3), RGB.
        same: whether both show one person, so that it was refused and should not have been.
        cosine: of the two embeddings.
        threshold: cosine above which the pair's fold accepts.
    """

    where: str
    faces: np.ndarray
    same: bool
    cosine: float
    threshold: float

    @property
    def beyond(self) -> float:
        """How far the cosine is on the wrong side of the threshold."""
        return abs(self.cosine - self.threshold)

    @property
    def tile(self) -> Tile:
        """The faces with their score."""
        score = f"{self.cosine:.3f}, threshold {self.threshold:.3f}"
        what = "one person, refused" if self.same else "different people, accepted"
        jpegs = tuple(encode_jpeg(face, 90) for face in self.faces)
        return Tile(jpegs, f"{self.where}: {score}", f"Two faces of {what}: cosine {score}")


def nearest_mistakes(where: str, verified: VerificationResult, images: np.ndarray, most: int = SHOWN) -> list[Mistake]:
    """Return the mistakes that are furthest beyond their threshold.

    They are different pairs above it, then same pairs below it. Of a squared distance d between
    unit vectors the cosine is 1 - d / 2.

    Args:
        where: the set.
        verified: the judgement of its pairs.
        images: uint8 (2P, H, W, 3); pair i is images 2i and 2i + 1.
        most: of each kind.
    """
    cosines, thresholds = 1 - verified.distances / 2, 1 - verified.thresholds / 2
    thresholds = np.repeat(thresholds, fold_sizes(len(verified.same)))
    found = []
    for kind in (False, True):
        wrong = np.flatnonzero(~verified.right & (verified.same == kind))
        order = np.argsort(-np.abs(cosines - thresholds)[wrong], kind="stable")
        for pair in wrong[order[:most]]:
            faces = images[2 * pair : 2 * pair + 2].copy()
            found.append(Mistake(where, faces, kind, float(cosines[pair]), float(thresholds[pair])))
    return found


def mistake_galleries(mistakes: Iterable[Mistake], who: str = "", most: int = SHOWN) -> list[Gallery]:
    """Return false accepts and false rejects of one model, worst first.

    Args:
        mistakes: of all its sets.
        who: the model, where a page has several.
        most: of each kind.
    """
    ordered = sorted(mistakes, key=lambda one: -one.beyond)
    galleries = []
    for kind, title, caption in (
        (False, "false accepts", "Different people taken for one: the cosines furthest above their threshold."),
        (True, "false rejects", "One person taken for two: the cosines furthest below their threshold."),
    ):
        chosen: Sequence[Mistake] = [one for one in ordered if one.same == kind][:most]
        if chosen:
            heading = f"{who}: {title}" if who else title.capitalize()
            galleries.append(Gallery(heading, caption, [one.tile for one in chosen]))
    return galleries
