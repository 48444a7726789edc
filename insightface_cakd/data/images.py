"""Encodes and decodes images; pixels are RGB, and those of OpenCV."""

import os
from collections.abc import Callable

import cv2
import numpy as np
import simplejpeg

from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.image_header import header_fault, image_format, not_an_image
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import unreadable

FACE_SIZE = 112
FACE_SHAPE = (FACE_SIZE, FACE_SIZE, 3)
# A scan takes some bytes, and each goes over all pixels: those of a face that is no larger take a tenth of a second at most.
_FEW_BYTES = 1 << 15
_UPRIGHT, _STORED = cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_rgb(data: bytes, where: str, upright: bool = False) -> np.ndarray:
    """Return the pixels of an encoded image, uint8 (H, W, 3) RGB.

    They are the same as those that mxnet decodes.

    Args:
        data: JPEG, PNG or any other format that OpenCV reads. Grey images get three equal channels, alpha is dropped.
        where: names the image in an error.
        upright: turn the image as its EXIF orientation says, which is right for photos of a camera. An aligned face has upright pixels
            already, whatever tag a program left in it; mxnet and PIL read the pixels as they are stored.

    Raises:
        DataError: the bytes are not an image, or too large, see `header_fault`.

    Edge cases:
        A damaged JPEG is decoded as far as it goes, the rest is grey, as in mxnet; `image_fault` detects it.
    """
    if not upright and (small := _whole_jpeg(data, np.empty(FACE_SHAPE, np.uint8))) is not None:
        return small
    fault, pixels = header_fault(data), None
    if fault is None:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _UPRIGHT if upright else _STORED)
        except cv2.error:
            pixels = None
    if pixels is None:
        raise DataError(f"{where}: {fault or not_an_image(data)}; expected JPEG or PNG. Replace or remove it.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def decode_face(data: bytes, pixels: np.ndarray, where: Callable[[], str]) -> None:
    """Decode an aligned face to where its pixels are wanted.

    They are those of `decode_rgb`.

    Args:
        data: as for `decode_rgb`.
        pixels: uint8 (112, 112, 3) RGB, contiguous; written.
        where: returns what names the image in an error.

    Raises:
        DataError: the bytes are not an image of 112 x 112.
    """
    found = _whole_jpeg(data, pixels)
    if found is not None and found.shape == FACE_SHAPE:
        return
    rgb = decode_rgb(data, where())
    if rgb.shape != FACE_SHAPE:
        raise DataError(
            f"{where()}: {rgb.shape[1]} x {rgb.shape[0]} pixels; expected 112 x 112. Align the faces first."
        )
    pixels[...] = rgb


def _whole_jpeg(data: bytes, room: np.ndarray) -> np.ndarray | None:
    """Decode a small JPEG into `room`; None where OpenCV must decide.

    That is another format, a JPEG with a fault that libjpeg-turbo notices, and one that does not fit into the room.
    """
    if len(data) > _FEW_BYTES:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB", buffer=room, strict=True)
    except ValueError:
        return None


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
    # By hand, and without a buffer: half of the time for a face of a folder.
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    # A name of a list may hold a zero byte, which is a ValueError.
    except (OSError, ValueError) as error:
        expected = "a file that can be read. Check the path and its rights."
        raise unreadable(path, DataError, expected, error) from error


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
