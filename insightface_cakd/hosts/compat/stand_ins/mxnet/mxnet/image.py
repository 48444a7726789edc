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

    `buf` may be a uint8 array of the bytes, as in some .bin files. Only three channels in RGB are served.
    """
    if flag != 1 or not to_rgb:
        raise not_served(f"mxnet.image.imdecode with flag={flag}, to_rgb={to_rgb}")
    data = buf.tobytes() if isinstance(buf, np.ndarray) else bytes(buf)
    return NDArray(decode_rgb(data, "mxnet.image.imdecode"))


def resize_short(src: NDArray, size: int, interp: int = 2) -> NDArray:
    """Resize (H, W, C): shorter side `size`, the longer rounded down."""
    if interp not in INTERPOLATIONS:
        raise not_served(f"mxnet.image.resize_short with interp={interp}")
    height, width = src.shape[:2]
    shape = (size, size * height // width) if height > width else (size * width // height, size)
    return NDArray(cv2.resize(src.asnumpy(), shape, interpolation=interp))
