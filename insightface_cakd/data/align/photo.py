"""Turns one photo into an aligned face, or reports why it cannot."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from insightface_cakd.data.align.similarity import align
from insightface_cakd.data.folders import is_dangling
from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.images import decode_rgb, encode_jpeg, read_bytes
from insightface_cakd.errors import DataError

if TYPE_CHECKING:
    # insightface takes half a second to import, and not everyone who reads a face detects one.
    from insightface_cakd.data.align.detector import Detector, Face

Policy = Literal["largest", "central", "skip"]

CORRUPT, NO_FACE, LOW_SCORE = "corrupt file", "no face", "low score"
TOO_SMALL, SEVERAL, BAD_POINTS = "too small", "several faces", "bad points"
REASONS = (CORRUPT, NO_FACE, LOW_SCORE, TOO_SMALL, SEVERAL, BAD_POINTS)


@dataclass(frozen=True)
class Rules:
    """Which face of a photo is taken, and how it is saved.

    Args:
        policy: of several good faces the largest, the one nearest to the photo's centre, or none (`skip`).
        min_score: in [0, 1].
        min_face: smallest shorter side of the box, in pixels of the photo.
        quality: of the JPEG, 1 to 100.
    """

    policy: Policy = "largest"
    min_score: float = 0.5
    min_face: float = 32.0
    quality: int = 95


@dataclass(frozen=True)
class Outcome:
    """The result for one photo.

    Args:
        reason: why the photo was left out, one of `REASONS`; None if a face was taken.
    """

    reason: str | None
    detail: str = ""
    jpeg: bytes = b""
    faces: int = 0


@dataclass(frozen=True, eq=False)
class Found:
    """The face that was taken of a photo, or why none was.

    Args:
        reason: why there is none, one of `REASONS`.
        face: uint8 (112, 112, 3) RGB.
        faces: how many good ones the photo has.
    """

    reason: str | None
    detail: str = ""
    face: np.ndarray | None = None
    faces: int = 0

    @property
    def why(self) -> str:
        """Why there is none, in words."""
        return f"{self.reason} ({self.detail})" if self.detail else str(self.reason)


def align_photo(path: Path, detector: "Detector", rules: Rules) -> Outcome:
    """Detect, choose and align the face of a photo, upright by EXIF."""
    try:
        bgr = read_photo(path)
    except DataError as error:
        # The report names the photo separately, and the advice is the same for all photos.
        return Outcome(CORRUPT, str(error).removeprefix(f"{path}: ").partition("; ")[0])
    found = find_face(bgr, detector, rules)
    jpeg = b"" if found.face is None else encode_jpeg(found.face, rules.quality)
    return Outcome(found.reason, found.detail, jpeg, found.faces)


def find_face(bgr: np.ndarray, detector: "Detector", rules: Rules) -> Found:
    """Detect, choose and align the face of a photo's pixels.

    Args:
        bgr: uint8 (H, W, 3).
        detector: finds the faces.
        rules: which of them is taken.
    """
    try:
        faces = detector.find(bgr)
    except cv2.error:
        # A strip whose short side is less than a pixel once it is scaled to the detector's square.
        return Found(NO_FACE, f"{bgr.shape[1]} x {bgr.shape[0]} pixels")
    return _take(bgr, faces, rules)


def read_photo(path: Path) -> np.ndarray:
    """Return the pixels of a photo, uint8 (H, W, 3) BGR."""
    return decode_photo(read_whole(path), str(path))


def read_whole(path: Path) -> bytes:
    """Return the bytes of an image that is not damaged."""
    if is_dangling(path):
        raise DataError(f"{path}: a link to a file that is not there; expected a photo. Restore it or remove the link.")
    data = read_bytes(path)
    if fault := image_fault(data):
        raise DataError(f"{path}: {fault}; expected a whole image. Replace or remove it.")
    return data


def decode_photo(data: bytes, where: str) -> np.ndarray:
    """Return the pixels of a photo's bytes, upright by EXIF.

    They are uint8 (H, W, 3) BGR.

    Args:
        data: of the file.
        where: names it in an error.
    """
    return cv2.cvtColor(decode_rgb(data, where, upright=True), cv2.COLOR_RGB2BGR)


def _take(bgr: np.ndarray, faces: list["Face"], rules: Rules) -> Found:
    if not faces:
        return Found(NO_FACE)
    clear = [face for face in faces if face.score >= rules.min_score]
    if not clear:
        return Found(LOW_SCORE, f"best {faces[0].score:.2f}, below {rules.min_score:g}")
    large = [face for face in clear if face.side >= rules.min_face]
    if not large:
        return Found(TOO_SMALL, f"{max(face.side for face in clear):.0f} pixels, below {rules.min_face:g}")
    if len(large) > 1 and rules.policy == "skip":
        return Found(SEVERAL, f"{len(large)} faces", faces=len(large))
    points = _choose(large, bgr, rules.policy).points
    # Points within one pixel would enlarge that pixel to a face; a NaN fails the comparison too.
    aligned = align(bgr, points) if np.ptp(points, axis=0).max() >= 1 else None
    if aligned is None:
        return Found(BAD_POINTS, "the five points lie on one spot", faces=len(large))
    return Found(None, "", aligned, len(large))


def _choose(faces: list["Face"], bgr: np.ndarray, policy: Policy) -> "Face":
    """Return the face that the policy takes, of equals the one with the better score."""
    if policy == "central":
        middle = np.array(bgr.shape[1::-1]) / 2
        return min(faces, key=lambda face: float(np.linalg.norm(np.add(face.box[:2], face.box[2:]) / 2 - middle)))
    return max(faces, key=lambda face: face.area)
