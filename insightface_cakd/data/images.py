"""Encodes and decodes images through OpenCV; pixels are RGB."""

import os
import re
from pathlib import Path

import cv2
import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import reading

FACE_SIZE = 112
_UPRIGHT, _STORED = cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
# A JPEG marker: not a stuffed 00, not a restart D0-D7, not a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_END, _WITHOUT_LENGTH = 0xD9, (0x01, 0xD8)


def image_format(data: bytes) -> str:
    """Return `jpeg`, `png` or `other`, judged by the first bytes."""
    if data.startswith(_JPEG):
        return "jpeg"
    return "png" if data.startswith(_PNG) else "other"


def decode_rgb(data: bytes, where: str, upright: bool = False) -> np.ndarray:
    """Return the pixels of an encoded image, uint8 (H, W, 3) RGB.

    They are the same as those that mxnet decodes.

    Args:
        data: JPEG, PNG or any other format that OpenCV reads. Grey images get three equal channels, alpha is dropped.
        where: names the image in an error.
        upright: turn the image as its EXIF orientation says, which is right for photos of a camera. An aligned face has upright pixels
            already, whatever tag a program left in it; mxnet and PIL read the pixels as they are stored.

    Raises:
        DataError: the bytes are not an image.

    Edge cases:
        A truncated JPEG is decoded as far as it goes, the rest is grey, as in mxnet; `image_fault` detects it.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _UPRIGHT if upright else _STORED) if data else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise DataError(
            f"{where}: {len(data)} bytes ({data[:8].hex(' ') or 'none'}) are not an image OpenCV reads; "
            "expected JPEG or PNG. Replace or remove it."
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def image_fault(data: bytes) -> str | None:
    """Say whether an encoded image is empty or truncated; None if neither."""
    if not data:
        return "it has 0 bytes"
    kind = image_format(data)
    if kind == "jpeg" and _ends_early(data):
        return f"the JPEG of {len(data)} bytes is truncated (no end marker)"
    if kind == "png" and _PNG_END not in data:
        return f"the PNG of {len(data)} bytes is truncated (no IEND chunk)"
    return None


def _ends_early(jpeg: bytes) -> bool:
    """Return whether a JPEG lacks its end marker; one in a thumbnail does not count."""
    position = len(_JPEG)
    while (marker := _MARKER.search(jpeg, position)) is not None:
        code, position = jpeg[marker.start() + 1], marker.end()
        if code == _END:
            return False
        if code not in _WITHOUT_LENGTH:
            position += max(int.from_bytes(jpeg[position : position + 2], "big"), 2)
    return True


def encode_jpeg(rgb: np.ndarray, quality: int = 95) -> bytes:
    """Return uint8 (H, W, 3) RGB as JPEG, quality 1 to 100."""
    if not 1 <= quality <= 100:
        raise DataError(f"JPEG quality {quality}: expected 1 to 100. 95 is the usual choice.")
    return _encode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(rgb: np.ndarray) -> bytes:
    """Return uint8 (H, W, 3) RGB as PNG, without loss."""
    return _encode(".png", rgb, [])


def _encode(extension: str, rgb: np.ndarray, options: list[int]) -> bytes:
    return cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be read.
    """
    with reading(path, DataError, "an image. Check the path and its rights."):
        return Path(path).read_bytes()


def face_bytes(path: str | os.PathLike[str], quality: int = 95, keep_bytes: bool = True) -> tuple[bytes, bool]:
    """Return a 112 x 112 face, and whether it keeps its bytes.

    A JPEG or PNG of 112 x 112 does, unless `keep_bytes` is False. Anything else is encoded as JPEG; a square of
    another size is resized first (by area when larger, bicubic when smaller). Images that are not square are errors.
    """
    data = read_bytes(path)
    if fault := image_fault(data):
        raise DataError(f"{path}: {fault}; expected a whole image. Replace or remove it.")
    rgb = decode_rgb(data, str(path))
    height, width = rgb.shape[:2]
    if height != width:
        raise DataError(
            f"{path}: {width} x {height} pixels; expected an aligned square face, best 112 x 112. Align it first."
        )
    if height == FACE_SIZE and keep_bytes and image_format(data) != "other":
        return data, True
    if height != FACE_SIZE:
        method = cv2.INTER_AREA if height > FACE_SIZE else cv2.INTER_CUBIC
        rgb = cv2.resize(rgb, (FACE_SIZE, FACE_SIZE), interpolation=method)
    return encode_jpeg(rgb, quality), False
