"""Format and size of an encoded image, from its header.

A file of a few kilobytes can announce pixels that take gigabytes, so its header is read before anything is decoded.
"""

import io
import re
import struct
from collections.abc import Callable, Iterator

from PIL import Image

# 400 MB as bytes of three channels; cameras of phones and studios reach 108 million.
MOST_PIXELS = 1 << 27
# Each pass of a progressive JPEG goes over all pixels, and may take two bytes in the file; programs write 10 or so.
MOST_SCANS = 100
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
SCAN = b"\xff\xda"
# A JPEG marker: not a stuffed 00, not a restart D0-D7, not a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_WITHOUT_LENGTH = (0x01, 0xD8)
# Start of a frame, whose header holds the size; C4, C8 and CC are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What OpenCV reads besides.
_OTHERS = ("AVIF", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "SUN", "TIFF", "WEBP")
_TILE = (322, 323)


def image_format(data: bytes) -> str:
    """Return `jpeg`, `png` or `other`, judged by the first bytes."""
    if data.startswith(_JPEG):
        return "jpeg"
    return "png" if data.startswith(_PNG) else "other"


def not_an_image(data: bytes) -> str:
    """Return the words for bytes that no decoder takes."""
    return f"{len(data)} bytes ({data[:8].hex(' ') or 'none'}) are not an image OpenCV reads"


def header_fault(data: bytes) -> str | None:
    """Say why an image must not be decoded.

    It has no header that can be read, or too many pixels; None if neither. Nothing is decoded to find out.
    """
    try:
        size = _size(data, _with_tiles)
    except Image.DecompressionBombError as error:
        return f"its header says too many pixels ({error})"
    if size is None:
        return not_an_image(data)
    width, height = size
    if width * height > MOST_PIXELS:
        return f"its header says {width} x {height} pixels, more than {MOST_PIXELS >> 20} x 2^20"
    if image_format(data) == "jpeg" and (scans := data.count(SCAN)) > MOST_SCANS:
        return f"the JPEG has {scans} scans, more than {MOST_SCANS}"
    return None


def open_other(data: bytes) -> Image.Image | None:
    """Open an image that is neither JPEG nor PNG, without decoding it.

    Returns None if it is none that both OpenCV and Pillow read. Pillow's own error of too many pixels passes.
    """
    try:
        return Image.open(io.BytesIO(data), formats=_OTHERS)
    except Image.DecompressionBombError:
        raise
    # A damaged header can raise any exception.
    except Exception:
        return None


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return stored width and height; None where there is no header."""
    return _size(data, lambda image: image.size)


def _size(data: bytes, of_other: Callable[[Image.Image], tuple[int, int]]) -> tuple[int, int] | None:
    kind = image_format(data)
    if kind == "jpeg":
        return _jpeg_size(data)
    if kind == "png":
        return struct.unpack_from(">II", data, len(_PNG) + 8) if len(data) >= len(_PNG) + 16 else None
    image = open_other(data)
    return None if image is None else of_other(image)


def _with_tiles(image: Image.Image) -> tuple[int, int]:
    """Return the size of an image, or of a TIFF's tile if that is larger."""
    tags = getattr(image, "tag_v2", {})
    width, height = (tags.get(tag, 0) for tag in _TILE)
    whole = all(isinstance(side, int) for side in (width, height))
    return (width, height) if whole and width * height > image.width * image.height else image.size


def _jpeg_size(jpeg: bytes) -> tuple[int, int] | None:
    for code, position in _segments(jpeg):
        if code in _FRAMES and len(jpeg) >= position + 7:
            height, width = struct.unpack_from(">HH", jpeg, position + 3)
            return width, height
    return None


def _segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker before the first scan, and the position behind it."""
    position = len(_JPEG)
    while (marker := _MARKER.search(jpeg, position)) is not None:
        code, position = jpeg[marker.start() + 1], marker.end()
        if code == SCAN[1]:
            return
        yield code, position
        if code not in _WITHOUT_LENGTH:
            position += max(int.from_bytes(jpeg[position : position + 2], "big"), 2)
