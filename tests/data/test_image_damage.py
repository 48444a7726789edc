"""Damage that decoders pass over in silence is named, by every command that makes or checks data."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from insightface_cakd.data.align.photo import read_photo
from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.image_header import image_format
from insightface_cakd.data.images import decode_rgb, encode_jpeg, encode_png
from insightface_cakd.data.liveness import pack_liveness
from insightface_cakd.errors import DataError
from tests.commands import cakd
from tests.data.record_files import jpeg, picture


def zeroed(data: bytes, first: float, last: float) -> bytes:
    start, end = int(first * len(data)), int(last * len(data))
    return data[:start] + bytes(end - start) + data[end:]


def compressed_tiff(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".tiff", pixels)[1].tobytes()


WHOLE = encode_jpeg(picture(3))
DAMAGED = {
    "half, closed.jpg": WHOLE[: len(WHOLE) // 2] + b"\xff\xd9",
    "zeros in the middle.jpg": zeroed(WHOLE, 0.5, 0.8),
    "another file's end.jpg": WHOLE[: len(WHOLE) // 2] + jpeg(4),
    "cut.jpg": WHOLE[:-100],
    "zeros in the middle.png": zeroed(encode_png(picture(3)), 0.4, 0.7),
    "zeros in the middle.tif": zeroed(compressed_tiff(picture(3)), 0.3, 0.8),
}


@pytest.fixture(params=DAMAGED)
def damaged(request: pytest.FixtureRequest) -> str:
    return request.param


def faces(folder: Path, damaged: str) -> Path:
    for person in ("anna", "bert"):
        (folder / person).mkdir(parents=True)
        for number in range(3):
            (folder / person / f"{number}.jpg").write_bytes(jpeg(number))
    (folder / "bert" / damaged).write_bytes(DAMAGED[damaged])
    return folder


def test_pack_names_it(damaged: str, tmp_path: Path) -> None:
    ran = cakd("data", "pack", faces(tmp_path / "faces", damaged), tmp_path / "out")
    assert ran.code == 1
    assert f"bert/{damaged}: " in ran.err
    assert not (tmp_path / "out").exists()


def test_check_names_it(damaged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = faces(tmp_path / "faces", damaged)
    with monkeypatch.context() as patch:
        # As another program packs, which does not look.
        patch.setattr("insightface_cakd.data.pack.face_bytes", lambda path, *_: (path.read_bytes(), True))
        assert cakd("data", "pack", folder, tmp_path / "out").code == 0
    ran = cakd("data", "check", tmp_path / "out")
    assert ran.code == 1
    assert "1 errors, listed above" in ran.err
    key = 4 + sorted(path.name for path in (folder / "bert").iterdir()).index(damaged)
    assert f"record {key} at offset" in ran.out or "record 7 at offset" in ran.out


def test_alignment_names_it(damaged: str, tmp_path: Path) -> None:
    (tmp_path / damaged).write_bytes(DAMAGED[damaged])
    with pytest.raises(DataError, match=r"(is damaged|is truncated|not an image)"):
        read_photo(tmp_path / damaged)


def test_liveness_names_it(damaged: str, tmp_path: Path) -> None:
    for domain in ("a", "b"):
        for kind in ("live", "spoof"):
            (tmp_path / "faces" / domain / kind).mkdir(parents=True)
            (tmp_path / "faces" / domain / kind / "0.jpg").write_bytes(jpeg(1))
    (tmp_path / "faces" / "a" / "live" / damaged).write_bytes(DAMAGED[damaged])
    with pytest.raises(DataError, match="a/live/"):
        pack_liveness(tmp_path / "faces", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_what_storage_zeroes_nearly_all_is_found(shared_data: Path) -> None:
    """A sector of 512 bytes of zeros in the scan of a face of 4 kB; the rest leaves the lengths of the codes right."""
    random, found, tried = np.random.default_rng(0), 0, 0
    for file in sorted((shared_data / "lfw_train").glob("id_00[0-4]?/*.jpg"))[:200]:
        data = file.read_bytes()
        start = int(random.integers(data.index(b"\xff\xda") + 14, len(data) - 514))
        found += image_fault(data[:start] + bytes(512) + data[start + 512 :]) is not None
        tried += 1
    assert tried == 200
    assert found >= 0.9 * tried


def test_pixels_are_those_of_opencv_whatever_is_checked(shared_data: Path) -> None:
    for file in sorted((shared_data / "lfw_train").glob("id_000?/*.jpg")):
        data = file.read_bytes()
        assert image_fault(data) is None
        assert np.array_equal(decode_rgb(data, ""), cv2.imread(str(file))[..., ::-1])


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"keep_rgb": True}, {"subsampling": "4:1:1"}, {"optimize": True}]
)
def test_a_jpeg_of_another_make_is_whole(options: dict[str, object]) -> None:
    for pixels in (Image.fromarray(picture(1)), Image.fromarray(np.zeros((112, 112, 3), np.uint8))):
        file = io.BytesIO()
        pixels.save(file, "JPEG", **options)
        assert image_format(file.getvalue()) == "jpeg"
        assert image_fault(file.getvalue()) is None
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        Image.fromarray(picture(1)).convert(mode).save(file, "JPEG")
        assert image_fault(file.getvalue()) is None
