"""Landmarks packed into mxnet's records, and what is refused before anything is written."""

import struct

import numpy as np
import pytest

from insightface_cakd.data.landmarks.crop import LANDMARK_SIZE
from insightface_cakd.data.landmarks.flips import FLIPS
from insightface_cakd.data.landmarks.sets import read_points
from insightface_cakd.data.recordio import RecordReader
from insightface_cakd.errors import DataError
from tests.commands import cakd, contents, refused
from tests.point_sets import FACE, NAMES, face_68, shaken, write_folder


def pack(source, out, *more, coordinates="pixels"):
    return ["data", "pack-landmarks", source, out, "--coordinates", coordinates, *more]


def as_lines(path, points):
    """Write the list of plain lines for the images of a folder."""
    lines = [
        f"{path.stem}/{index}.png {' '.join(f'{value:.4f}' for value in one.reshape(-1))}"
        for index, one in enumerate(points)
    ]
    listed = path.with_suffix(".txt")
    listed.write_text("\n".join(lines) + "\n")
    return listed


@pytest.mark.parametrize(("shape", "count"), [(FACE, 5), (face_68(), 68), (FACE[:3], 3)])
@pytest.mark.parametrize("form", ["csv", "lines", "normalised"])
def test_any_number_of_points_comes_back(shape, count, form, tmp_path):
    points = shaken(shape, 4, seed=count)
    names = NAMES if count == 5 else [f"p{index}" for index in range(count)]
    source = write_folder(tmp_path / "source", "faces", points, names)
    given = points if form != "normalised" else (points + 0.5) / (74, 80)
    source = source if form == "csv" else as_lines(source, given)
    images = () if form == "csv" else ("--images", source.parent)
    ran = cakd(*pack(source, tmp_path / "out", *images, coordinates="normalised" if form == "normalised" else "pixels"))
    assert ran.code == 0, ran.err
    assert f"train: 4 images with {count} points" in ran.out
    packed = read_points(tmp_path / "out", "train")
    np.testing.assert_allclose(packed.points, points, atol=0.02)
    np.testing.assert_array_equal(packed.image(2), read_points(source.parent, "faces").image(2))
    assert packed.flip == FLIPS.get(count)
    assert ("no mirroring" in ran.out) == (count == 3)


def test_a_record_is_what_mxnet_unpacks(tmp_path):
    """Decoded by mxnet's own definition: IRHeader `IfQQ`, flag labels of float32, then the image."""
    points = shaken(FACE, 3, seed=1)
    cakd(*pack(write_folder(tmp_path, "faces", points), tmp_path / "out"))
    reader = RecordReader(tmp_path / "out" / "train.rec", tmp_path / "out" / "train.idx")
    assert reader.keys.tolist() == [0, 1, 2]
    raw = (tmp_path / "out" / "train.rec").read_bytes()
    for key, offset in zip(reader.keys.tolist(), reader.offsets.tolist(), strict=True):
        magic, length = struct.unpack_from("<II", raw, offset)
        assert magic == 0xCED7230A
        flag, label, identity, second = struct.unpack_from("<IfQQ", raw, offset + 8)
        assert (flag, label, identity, second, length >> 29) == (10, 0.0, key, 0, 0)
        labels = np.frombuffer(raw, "<f4", flag, offset + 8 + 24)
        np.testing.assert_allclose(labels.reshape(5, 2), points[key], atol=1e-3)
        payload = raw[offset + 8 + 24 + 40 : offset + 8 + length]
        assert payload == (tmp_path / "faces" / f"{key}.png").read_bytes()


def test_a_crop_keeps_points_on_their_spots(tmp_path):
    source = write_folder(tmp_path, "faces", shaken(FACE, 6, seed=2))
    assert cakd(*pack(source, tmp_path / "out", "--crop", 2, "--lift", 0.1)).code == 0
    packed = read_points(tmp_path / "out", "train")
    for index in range(6):
        image = packed.image(index)
        assert image.shape == (LANDMARK_SIZE, LANDMARK_SIZE, 3)
        x, y = packed.points[index, 2].round().astype(int)
        assert image[y, x, 2] > 0.9 * image[..., 2].max(), "the nose is blue alone"
        low, high = packed.points[index].min(axis=0), packed.points[index].max(axis=0)
        assert (high - low).max() == pytest.approx(LANDMARK_SIZE / 2, abs=0.2)
        np.testing.assert_allclose((low + high) / 2, (96, 96 + 0.1 * 192), atol=0.2)


def test_a_detectors_box_makes_insightfaces_crop(tmp_path, shared_data):
    source = tmp_path / "some.csv"
    lines = (shared_data / "landmarks5" / "test.csv").read_text().splitlines()[:5]
    source.write_text("\n".join(lines))
    detector = shared_data / "models" / "scrfd_500m.onnx"
    options = ("--images", shared_data / "landmarks5" / "test", "--crop", 1.5, "--detector", detector)
    ran = cakd(*pack(source, tmp_path / "out", *options))
    assert ran.code == 0, ran.err
    packed = read_points(tmp_path / "out", "train")
    eyes = np.linalg.norm(packed.points[:, 0] - packed.points[:, 1], axis=1)
    assert ((eyes > 20) & (eyes < 90)).all(), "a face whose box is two thirds of the crop"


def test_sets_of_the_same_points_share_a_folder(tmp_path):
    for name, seed in (("train", 1), ("test", 2)):
        source = write_folder(tmp_path / name, "faces", shaken(FACE, 2, seed))
        assert cakd(*pack(source, tmp_path / "out", "--name", name)).code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}{suffix}" for name in ("train", "test") for suffix in (".rec", ".idx", ".landmarks.json")
    }
    refused(
        pack(source, tmp_path / "out"), r".*train\.rec: exists already; expected no set of the name train", tmp_path
    )
    other = write_folder(tmp_path / "three", "faces", shaken(FACE[:3], 2, 1), ("a", "b", "c"))
    message = r".*: 3 points, the set test in .* has 5; expected as many"
    refused(pack(other, tmp_path / "out", "--name", "val"), message, tmp_path)


def test_a_table_is_kept_for_other_points(tmp_path):
    source = write_folder(tmp_path, "faces", shaken(FACE[:3], 2, 1), ("a", "b", "c"))
    assert cakd(*pack(source, tmp_path / "out", "--flip", "1,0,2")).code == 0
    assert read_points(tmp_path / "out", "train").flip == (1, 0, 2)
    refused(pack(source, tmp_path / "more", "--flip", "1,0"), "--flip: flip 1,0 does not exchange 3 points", tmp_path)


def test_points_outside_are_refused_or_left_out(tmp_path):
    points = shaken(FACE, 4, seed=3)
    points[1, 0, 0], points[3, 4, 1] = -3, 80
    source = write_folder(tmp_path, "faces", points)
    message = r".*faces\.csv: 2 of 4 images have points outside the image, first 1\.png; expected none\. Are the coordinates pixels\?"
    refused(pack(source, tmp_path / "out"), message, tmp_path)
    ran = cakd(*pack(source, tmp_path / "out", "--leave-out"))
    assert "2 images with 5 points; 2 left out: points outside the image" in ran.out
    np.testing.assert_allclose(read_points(tmp_path / "out", "train").points, points[[0, 2]], atol=1e-3)


def test_pixels_said_to_be_normalised_are_refused(tmp_path):
    source = write_folder(tmp_path, "faces", shaken(FACE, 2, seed=3))
    refused(pack(source, tmp_path / "out", coordinates="normalised"), r".*2 of 2 images have points outside", tmp_path)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("a.txt", ["0.png 1 2 3 4", "1.png 1 2"], r".*a\.txt: line 2 has 2 numbers; expected 4 as in the first"),
        ("a.txt", ["0.png 1 2 3"], r".*line 1 has 3 numbers; expected an even number"),
        ("a.txt", ["0.png 1 nan"], r".*line 1: a point is not a number \('nan'\)"),
        ("a.txt", ["0.png 1 x"], r".*line 1: a point is not a number \('x'\)"),
        ("a.txt", [""], r".*no image; expected lines"),
        ("a.csv", ["file,a_x,a_y", "0.png,1,2,3"], r".*line 2 has 4 columns; expected 3"),
        ("a.csv", ["file,a_x,a_y,a_x,a_y", "0.png,1,2,3,4"], r".*names a point twice"),
        ("a.csv", ["file,a_x,a_y", "notes.txt,1,2"], r".*names no image, first 'notes\.txt'"),
        ("a.csv", ["file,a_x,a_y", "gone.png,1,2"], r".*gone\.png: cannot be read"),
        ("a.csv", ["file,a_x,a_y", "bad.jpg,1,2"], r".*bad\.jpg: 3 bytes .* are not an image|.*bad\.jpg: the JPEG"),
    ],
)
def test_bad_lists_are_refused_in_one_line(name, lines, message, tmp_path):
    (tmp_path / name).write_text("\n".join(lines))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    refused(pack(tmp_path / name, tmp_path / "out"), message, tmp_path)


def test_coordinates_must_be_said(tmp_path):
    source = write_folder(tmp_path, "faces", shaken(FACE, 2, seed=3))
    before = contents(tmp_path)
    ran = cakd("data", "pack-landmarks", source, tmp_path / "out")
    assert ran.code == 2
    assert "--coordinates" in ran.err
    assert contents(tmp_path) == before


def test_a_detector_without_a_crop_is_refused(tmp_path):
    source = write_folder(tmp_path, "faces", shaken(FACE, 2, seed=3))
    refused(
        pack(source, tmp_path / "out", "--detector", "d.onnx"), "--detector, --lift: given without --crop", tmp_path
    )


def test_damaged_records_say_where(tmp_path):
    cakd(*pack(write_folder(tmp_path, "faces", shaken(FACE, 2, 1)), tmp_path / "out"))
    described = tmp_path / "out" / "train.landmarks.json"
    whole = described.read_text()
    described.write_text(whole.replace('"images": 2', '"images": 3'))
    with pytest.raises(DataError, match=r"train\.idx: 2 keys; expected 0 to 2, as train\.landmarks\.json says"):
        read_points(tmp_path / "out", "train")
    described.write_text(whole.replace('"nose",', '"nose", "chin",').replace("4,\n  3", "4,\n  3,\n  5"))
    with pytest.raises(DataError, match=r"record 0 at offset 0: 10 labels; expected 12 numbers"):
        read_points(tmp_path / "out", "train")
    described.write_text("{")
    with pytest.raises(DataError, match=r"train\.landmarks\.json: .*Invalid JSON"):
        read_points(tmp_path / "out", "train")


def test_a_csv_beside_records_of_its_name_is_refused(tmp_path):
    cakd(*pack(write_folder(tmp_path, "faces", shaken(FACE, 2, 1)), tmp_path, "--name", "train"))
    write_folder(tmp_path, "train", shaken(FACE, 2, 1))
    with pytest.raises(DataError, match=r"there is train\.landmarks\.json too; expected one of both"):
        read_points(tmp_path, "train")
