"""The fast decoder gives OpenCV's pixels, which are mxnet's, or leaves the image to OpenCV."""

import io
from itertools import product

import cv2
import numpy as np
import pytest
from PIL import Image

from insightface_cakd.data.images import FACE_SHAPE, decode_face, decode_rgb, encode_png
from insightface_cakd.errors import DataError
from tests.data.record_files import jpeg, picture, tagged

STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def by_pillow(mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(4)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def of_kinds() -> dict[str, bytes]:
    """JPEGs of every kind that Pillow and OpenCV write, and some that are damaged but decode."""
    kinds = {
        f"quality {quality}, subsampling {sampling}, progressive {progressive}": by_pillow(
            quality=quality, subsampling=sampling, progressive=progressive
        )
        for quality, sampling, progressive in product((30, 75, 95, 100), (0, 1, 2), (False, True))
    }
    for name in ("411", "420", "422", "440", "444"):
        options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")]
        kinds[f"sampling {name}"] = cv2.imencode(".jpg", picture(4), options)[1].tobytes()
    whole = by_pillow(quality=95)
    middle = len(whole) // 2
    return kinds | {
        "grey": by_pillow("L"),
        "CMYK": by_pillow("CMYK"),
        "RGB inside": by_pillow(keep_rgb=True),
        "restarts": by_pillow(restart_marker_blocks=3),
        "turned by EXIF": tagged(jpeg(3), 6),
        "bytes behind its end": whole + b"behind",
        "zeros within": whole[:middle] + bytes(40) + whole[middle + 40 :],
        "PNG": encode_png(picture(4)),
        "longer than what is tried at once": by_pillow(comment=b"long" * 10_000),
    }


KINDS = of_kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_opencv_wherever_they_are_written(kind: str) -> None:
    expected = cv2.imdecode(np.frombuffer(KINDS[kind], np.uint8), STORED)[..., ::-1]
    assert np.array_equal(decode_rgb(KINDS[kind], ""), expected)
    batch = np.full((3, *FACE_SHAPE), 7, np.uint8)
    decode_face(KINDS[kind], batch[1], lambda: "here")
    assert np.array_equal(batch[1], expected)
    assert (batch[[0, 2]] == 7).all(), "the images beside it are left alone"


# 56 x 224 has as many pixels as a face, the others fewer and more.
@pytest.mark.parametrize(("height", "width"), [(56, 224), (100, 100), (113, 112), (500, 400)])
def test_another_size_is_no_face_and_an_image_nevertheless(height: int, width: int) -> None:
    data = jpeg(5, height, width)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), STORED)[..., ::-1]
    assert np.array_equal(decode_rgb(data, ""), expected)
    with pytest.raises(DataError, match=rf"^here: {width} x {height} pixels; expected 112 x 112"):
        decode_face(data, np.empty(FACE_SHAPE, np.uint8), lambda: "here")


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(DataError, match=r"^here: 4 bytes .* are not an image"):
        decode_face(b"none", np.empty(FACE_SHAPE, np.uint8), lambda: "here")
