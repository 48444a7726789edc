"""Images that announce more than memory holds are named before a pixel is decoded."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.image_header import MOST_PIXELS, header_fault
from insightface_cakd.data.images import decode_rgb, encode_png
from insightface_cakd.errors import DataError
from tests.data.record_files import jpeg, picture
from tests.peak_memory import run_module

WIDE = "its header says 30000 x 30000 pixels"


def png_of(width: int, height: int) -> bytes:
    """A PNG with a header, and data of one row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3 * width + 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(1)).save(file, "JPEG", **options)
    data = bytearray(file.getvalue())
    frame = data.index(b"\xff\xc2" if options else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def stored(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(1)).save(file, kind)
    return file.getvalue()


def bmp_of(width: int, height: int) -> bytes:
    data = bytearray(stored("BMP"))
    struct.pack_into("<ii", data, 18, width, height)
    return bytes(data)


def tiff_of(width: int, height: int, tags: tuple[int, int] = (256, 257)) -> bytes:
    """A TIFF whose size, or another pair of tags, is patched."""
    file = io.BytesIO()
    Image.fromarray(picture(1)).save(file, "TIFF", tiffinfo={270: "a", 305: "a"})
    data = bytearray(file.getvalue())
    start = struct.unpack_from("<I", data, 4)[0]
    # Notes on the picture make room for other tags.
    places = {256: tags[0], 257: tags[1]} if tags == (256, 257) else {270: tags[0], 305: tags[1]}
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        number = struct.unpack_from("<H", data, entry)[0]
        if number in places:
            side = width if places[number] == tags[0] else height
            struct.pack_into("<HHII", data, entry, places[number], 4, 1, side)
    return bytes(data)


BOMBS = {
    "png": png_of(30000, 30000),
    "jpeg": jpeg_of(30000, 30000),
    "progressive jpeg": jpeg_of(30000, 30000, progressive=True),
    "bmp": bmp_of(30000, 30000),
    "tiff": tiff_of(30000, 30000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_named_by_its_header(name: str) -> None:
    fault = header_fault(BOMBS[name])
    assert fault is not None
    assert fault.startswith(WIDE) or "900000000 pixels" in fault
    assert image_fault(BOMBS[name]) == fault
    with pytest.raises(DataError, match="^a: its header says"):
        decode_rgb(BOMBS[name], "a")


def test_a_tile_counts_as_an_image() -> None:
    assert header_fault(stored("TIFF")) is None
    assert "40000 x 40000 pixels" in str(header_fault(tiff_of(40000, 40000, (322, 323))))


def test_the_limit_is_exact() -> None:
    side = 1 << 13
    assert header_fault(png_of(side, MOST_PIXELS // side)) is None
    assert header_fault(png_of(side, MOST_PIXELS // side + 1)) is not None


def test_scans_that_take_hours_are_named() -> None:
    file = io.BytesIO()
    Image.fromarray(picture(1)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    assert header_fault(data) is None
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xc4", first)
    many = data[:second] + data[first:second] * 200 + data[second:]
    assert "scans, more than 100" in str(header_fault(many))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
def test_whole_images_have_no_fault(kind: str) -> None:
    assert header_fault(stored(kind)) is None
    assert image_fault(stored(kind)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xc0\0", b"II*\0", b"#?RADIANCE\n"]
)
def test_without_a_header_it_is_no_image(data: bytes) -> None:
    assert f"{len(data)} bytes" in str(header_fault(data))


def test_an_embedded_thumbnail_does_not_give_the_size() -> None:
    exif = b"Exif\0\0" + jpeg_of(60000, 60000)
    data = jpeg(0)
    assert header_fault(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]) is None


def test_packing_bombs_takes_little_memory(tmp_path: Path) -> None:
    for person in ("a", "b"):
        (tmp_path / "faces" / person).mkdir(parents=True)
    for number, (name, data) in enumerate(BOMBS.items()):
        (tmp_path / "faces" / "a" / f"{number}.{name.split()[-1]}").write_bytes(data)
    (tmp_path / "faces" / "b" / "0.png").write_bytes(encode_png(picture(1)))
    command = ["insightface_cakd", "data", "pack", "faces", "out"]
    code, said, peak = run_module(command, tmp_path, tmp_path / "peak", 120)
    assert code == 1
    assert "5 of 6 images cannot be used: " in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
    assert peak < 1 << 20
