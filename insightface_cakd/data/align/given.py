"""Turns a path or pixels into an aligned face."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from insightface_cakd.data.align.photo import Found, Rules, decode_photo, find_face, read_whole
from insightface_cakd.data.image_header import image_size
from insightface_cakd.data.images import FACE_SHAPE, decode_rgb
from insightface_cakd.errors import DataError

if TYPE_CHECKING:
    from insightface_cakd.data.align.detector import Detector

Image = str | Path | np.ndarray


def face_of(
    image: Image, detector: "Detector | None" = None, rules: Rules | None = None, where: str = ""
) -> np.ndarray:
    """Return a face, uint8 (112, 112, 3) RGB.

    Args:
        image: see `look_at`.
        detector: see `look_at`.
        rules: see `look_at`.
        where: see `look_at`.

    Raises:
        DataError: as `look_at`; or a photo has no face that the rules allow.
    """
    found = look_at(image, detector, rules, where)
    if found.face is None:
        raise DataError(
            f"{named(image, where)}: {found.why}; expected a photo with a face that can be taken. Take another one."
        )
    return found.face


def look_at(image: Image, detector: "Detector | None" = None, rules: Rules | None = None, where: str = "") -> Found:
    """Return the face of an image, or why none was taken.

    What has 112 x 112 pixels is an aligned face already. Anything else is a photo, in which the detector finds and aligns one.

    Args:
        image: a file; or uint8 (H, W, 3) RGB.
        detector: of photos.
        rules: which face of a photo is taken.
        where: names pixels in an error; a file has its path.

    Raises:
        DataError: the file cannot be read, it is no image, or the pixels are none; or a photo without a detector.
    """
    where = named(image, where)
    given = read_whole(Path(image)) if isinstance(image, str | Path) else _checked(image, where)
    size = image_size(given) if isinstance(given, bytes) else given.shape[1::-1]
    assert size is not None, "a whole image has a header"
    if size == FACE_SHAPE[1::-1]:
        return Found(None, face=decode_rgb(given, where) if isinstance(given, bytes) else given, faces=1)
    if detector is None:
        raise DataError(
            f"{where}: {size[0]} x {size[1]} pixels; expected an aligned face of 112 x 112. Align it with "
            "`cakd data align`; or give a detector, where one can be given, and it finds the face of a photo."
        )
    bgr = decode_photo(given, where) if isinstance(given, bytes) else cv2.cvtColor(given, cv2.COLOR_RGB2BGR)
    return find_face(bgr, detector, rules or Rules())


def named(image: Image, where: str = "") -> str:
    """Return what names an image in an error."""
    return str(image) if isinstance(image, str | Path) else where or "image"


def _checked(image: object, where: str) -> np.ndarray:
    """Return pixels that are some."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        said = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        raise DataError(
            f"{where}: {said}; expected a path, or pixels as uint8 (H, W, 3) RGB from 0 to 255. Convert it."
        )
    return image
