"""Encoded images: RGB order, what counts as whole, and when a face keeps its bytes."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.image_header import image_format
from insightface_cakd.data.images import decode_rgb, encode_jpeg, encode_png, face_bytes
from insightface_cakd.errors import DataError
from tests.data.record_files import jpeg, picture, tagged


def pillow(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def test_red_comes_first() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert decode_rgb(pillow(red, "PNG"), "red")[0, 0].tolist() == [255, 0, 0]
    assert np.array(Image.open(io.BytesIO(encode_png(red))))[0, 0].tolist() == [255, 0, 0]
    assert np.abs(np.array(Image.open(io.BytesIO(encode_jpeg(red))))[0, 0].astype(int) - [255, 0, 0]).max() < 4


def test_a_grey_image_has_three_equal_channels_and_alpha_is_dropped() -> None:
    grey = picture(1)[..., 0]
    assert (decode_rgb(pillow(grey, "PNG"), "grey") == grey[..., None]).all()
    with_alpha = np.dstack([picture(2), np.full((112, 112), 7, np.uint8)])
    assert (decode_rgb(pillow(with_alpha, "PNG"), "alpha") == picture(2)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_tag_turns_photos_only(orientation: int) -> None:
    stored = jpeg(3)
    data = tagged(stored, orientation)
    rgb = decode_rgb(stored, "")
    assert np.array_equal(decode_rgb(data, ""), rgb)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).shape, rgb.shape)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.abs(decode_rgb(data, "", upright=True).astype(int) - turned).mean() < 1
    assert (np.abs(turned.astype(int) - rgb).mean() > 5) == (orientation > 1)


def test_png_is_lossless_and_jpeg_gets_closer_with_quality() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    assert (decode_rgb(encode_png(pixels), "") == pixels).all()
    errors = [np.abs(decode_rgb(encode_jpeg(pixels, q), "").astype(int) - pixels).mean() for q in (10, 60, 100)]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_out_of_range_is_refused(quality: int) -> None:
    with pytest.raises(DataError, match=rf"JPEG quality {quality}: expected 1 to 100"):
        encode_jpeg(picture(0), quality)


@pytest.mark.parametrize("data", [b"", b"hello, I am text", b"\xff\xd8\xff", bytes(3000)])
def test_bytes_that_are_no_image_are_named(data: bytes) -> None:
    with pytest.raises(DataError, match=rf"^a\.jpg: {len(data)} bytes .*not an image OpenCV reads"):
        decode_rgb(data, "a.jpg")


def test_formats_are_told_by_their_first_bytes() -> None:
    pixels = picture(0)
    kinds = [image_format(pillow(pixels, kind)) for kind in ("JPEG", "PNG", "BMP", "WEBP")]
    assert kinds == ["jpeg", "png", "other", "other"]


def test_whole_images_have_no_fault() -> None:
    for seed in range(5):
        noise = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)
        for data in (jpeg(seed), encode_png(noise), encode_jpeg(noise, 100), pillow(noise, "JPEG", progressive=True)):
            assert image_fault(data) is None
    assert image_fault(jpeg(0) + bytes(5000)) is None
    assert image_fault(cv2.imencode(".jpg", picture(0), [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()) is None


def test_every_real_jpeg_is_whole_and_cut_off_is_not(shared_data: Path) -> None:
    files = sorted((shared_data / "lfw_train").glob("id_00[0-4]?/*.jpg"))
    assert len(files) > 100
    for file in files:
        data = file.read_bytes()
        assert image_fault(data) is None
        for keep in (400, len(data) // 2, len(data) - 2):
            assert "truncated (no end marker)" in str(image_fault(data[:keep]))


def test_an_embedded_thumbnail_does_not_pass_for_the_end() -> None:
    exif = b"Exif\0\0" + jpeg(3, 8, 8)
    data = jpeg(0)
    with_thumbnail = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    assert image_fault(with_thumbnail) is None
    assert "truncated" in str(image_fault(with_thumbnail[:-200]))


def test_a_truncated_png_and_an_empty_file_are_faults() -> None:
    assert "truncated (no IEND chunk)" in str(image_fault(encode_png(picture(0))[:-6]))
    assert image_fault(b"") == "it has 0 bytes"


def test_a_face_of_the_right_size_keeps_its_bytes(tmp_path: Path) -> None:
    for name, data in (("a.jpg", jpeg(1)), ("b.png", encode_png(picture(1)))):
        (tmp_path / name).write_bytes(data)
        assert face_bytes(tmp_path / name) == (data, True)
        anew, own = face_bytes(tmp_path / name, keep_bytes=False)
        assert not own
        assert anew != data
        assert image_format(anew) == "jpeg"


def test_another_format_or_size_becomes_a_jpeg_of_112(tmp_path: Path) -> None:
    cases = {"a.bmp": pillow(picture(1), "BMP"), "big.jpg": jpeg(1, 224, 224), "small.jpg": jpeg(1, 64, 64)}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        made, own = face_bytes(tmp_path / name)
        pixels = decode_rgb(made, name)
        assert not own
        assert image_format(made) == "jpeg"
        assert pixels.shape == (112, 112, 3)
        assert np.abs(pixels.astype(int) - picture(1)).mean() < 8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has 0 bytes; expected a whole image"),
        (jpeg(1)[:500], r"the JPEG of 500 bytes is truncated"),
        (b"plain text", r"10 bytes \(70 6c 61 .*are not an image"),
        (jpeg(1, 112, 96), r"96 x 112 pixels; expected an aligned square face"),
    ],
)
def test_an_image_that_is_no_face_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(DataError, match=rf"x\.jpg: {message}"):
        face_bytes(tmp_path / "x.jpg")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be read \(No such file"):
        face_bytes(tmp_path / "gone.jpg")
