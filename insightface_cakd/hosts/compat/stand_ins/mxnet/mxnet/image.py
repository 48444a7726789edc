"""mxnet's image calls, through OpenCV as in mxnet itself."""

from typing import Any

import cv2
import numpy as np

from insightface_cakd.data.images import decode_rgb

from .ndarray import NDArray
from .refusal import not_served, refuse

__getattr__ = refuse("mxnet.image")

INTERPOLATIONS = range(5)  # nearest, linear, cubic, area, Lanczos: the numbers are OpenCV's own


def imdecode(buf: Any, flag: int = 1, to_rgb: int | bool = True) -> NDArray:
    """Return the pixels of an encoded image, uint8 (H, W, 3) RGB.

    Args:
        buf: the encoded bytes, or a uint8 array of them as in some .bin files.
        flag: only 1 (three channels) is served.
    """
    if flag != 1 or not to_rgb:
        raise not_served(f"mxnet.image.imdecode with flag={flag}, to_rgb={to_rgb}")
    data = buf.tobytes() if isinstance(buf, np.ndarray) else bytes(buf)
    return NDArray(decode_rgb(data, "mxnet.image.imdecode"))


def resize_short(src: NDArray, size: int, interp: int = 2) -> NDArray:
    """Return the image resized so that its shorter side has `size` pixels.

    The longer side is resized in proportion, rounded down.

    Args:
        src: uint8 (H, W, C).
        size: length of the shorter side in pixels.
        interp: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos.
    """
    if interp not in INTERPOLATIONS:
        raise not_served(f"mxnet.image.resize_short with interp={interp}")
    height, width = src.shape[:2]
    if height > width:
        width, height = size, size * height // width
    else:
        width, height = size * width // height, size
    return NDArray(cv2.resize(src.asnumpy(), (width, height), interpolation=interp))
