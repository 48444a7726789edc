"""Tells whole images from damaged ones that decode nevertheless.

OpenCV fills what a damaged JPEG or TIFF lacks with grey, without an error. Here libjpeg's warnings, and Pillow's errors, count.
Not found: damage that leaves the lengths of a JPEG's codes as they were, and bytes of a format without compression.
"""

import simplejpeg

from insightface_cakd.data.image_header import SCAN, header_fault, image_format, open_other

_PNG_END = b"IEND\xaeB`\x82"


def image_fault(data: bytes) -> str | None:
    """Say what is wrong with an encoded image, None for nothing.

    It is empty, damaged, too large or none at all. OpenCV itself refuses damaged PNGs, so of these only the end is looked at.
    """
    if not data:
        return "it has 0 bytes"
    if fault := header_fault(data):
        return fault
    kind = image_format(data)
    if kind == "jpeg":
        return _jpeg_fault(data)
    if kind == "png":
        return None if _PNG_END in data else f"the PNG of {len(data)} bytes is truncated (no IEND chunk)"
    return _other_fault(data)


def _jpeg_fault(data: bytes) -> str | None:
    try:
        # Grey needs no conversion of colours: half of the time.
        simplejpeg.decode_jpeg(data, "GRAY", strict=True)
    except ValueError as error:
        reason = str(error).strip().rstrip(".")
        if reason.startswith("Premature end") or SCAN not in data:
            return f"the JPEG of {len(data)} bytes is truncated (no end marker)"
        return f"the JPEG of {len(data)} bytes is damaged ({reason})"
    return None


def _other_fault(data: bytes) -> str | None:
    image = open_other(data)
    if image is None:
        return None
    try:
        image.load()
    # A damaged stream can raise any exception.
    except Exception as error:
        return f"the {image.format} of {len(data)} bytes is damaged ({' '.join(str(error).split()) or type(error).__name__})"
    return None
