"""Verification sets: every variant of `.bin` is read, what is written arcface_torch reads."""

import hashlib
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from insightface_cakd.data.bins import load_bin, make_bin, read_bin, write_bin
from insightface_cakd.data.images import decode_rgb
from insightface_cakd.errors import DataError
from tests.data.record_files import disk_full_after, jpeg, people_folder

IMAGES = [jpeg(number) for number in range(4)]


def test_insightfaces_development_set_is_read(shared_data: Path) -> None:
    faces = load_bin(shared_data / "lfw_dev.bin")
    assert (faces.images.shape, faces.images.dtype) == ((1200, 112, 112, 3), np.uint8)
    assert (faces.same.shape, faces.same.dtype) == ((600,), bool)
    assert faces.same.reshape(10, 60).sum(1).tolist() == [30] * 10
    plain = pickle.loads((shared_data / "lfw_dev.bin").read_bytes())
    for index in (0, 1, 599, 1199):
        bgr = cv2.imdecode(np.frombuffer(plain[0][index], np.uint8), cv2.IMREAD_COLOR)
        assert (faces.images[index] == bgr[..., ::-1]).all()
    assert faces.same.tolist() == plain[1]


def test_a_set_written_by_python_2_with_numpy_arrays_is_read(shared_data: Path) -> None:
    plain = pickle.loads((shared_data / "small_lfw.bin").read_bytes(), encoding="bytes")
    encoded, same = read_bin(shared_data / "small_lfw.bin")
    assert encoded == [image.tobytes() for image in plain[0]]
    assert same == [True] * 10
    assert load_bin(shared_data / "small_lfw.bin").images.shape == (20, 112, 112, 3)


def variants() -> dict[str, object]:
    arrays = [np.frombuffer(image, np.uint8) for image in IMAGES]
    objects = np.empty(4, object)
    objects[:] = IMAGES
    return {
        "bytes": (IMAGES, [True, False]),
        "lists in a list": [IMAGES, [1, 0]],
        "flat arrays": (arrays, np.array([True, False])),
        "columns": ([array[:, None] for array in arrays], [np.bool_(True), np.bool_(False)]),
        "an array of objects": (objects, np.array([1, 0])),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", variants())
def test_every_variant_gives_the_same_images(tmp_path: Path, name: str, protocol: int) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps(variants()[name], protocol))
    assert read_bin(tmp_path / "x.bin") == (IMAGES, [True, False])
    faces = load_bin(tmp_path / "x.bin")
    assert (faces.images == np.stack([decode_rgb(image, "") for image in IMAGES])).all()


def test_what_is_written_is_plain_pickle(tmp_path: Path) -> None:
    write_bin(tmp_path / "x.bin", IMAGES, np.array([True, False]))
    assert pickle.loads((tmp_path / "x.bin").read_bytes()) == (IMAGES, [True, False])
    assert load_bin(tmp_path / "x.bin").same.tolist() == [True, False]


def test_writing_a_real_set_again_keeps_every_byte_of_its_images(shared_data: Path, tmp_path: Path) -> None:
    write_bin(tmp_path / "x.bin", *read_bin(shared_data / "lfw_dev.bin"))
    assert read_bin(tmp_path / "x.bin") == read_bin(shared_data / "lfw_dev.bin")


def test_an_image_of_another_width_is_resized_as_upstream_does(tmp_path: Path) -> None:
    large = jpeg(9, 160, 160)
    write_bin(tmp_path / "x.bin", [large, IMAGES[0]], [True])
    bgr = cv2.imdecode(np.frombuffer(large, np.uint8), cv2.IMREAD_COLOR)
    expected = cv2.resize(bgr, (112, 112), interpolation=cv2.INTER_CUBIC)[..., ::-1]
    assert (load_bin(tmp_path / "x.bin").images[0] == expected).all()


@pytest.mark.parametrize(("height", "width"), [(60000, 1), (1, 60000), (112, 96), (96, 112), (160, 200)])
def test_an_image_that_is_not_square_is_refused(tmp_path: Path, height: int, width: int) -> None:
    write_bin(tmp_path / "x.bin", [IMAGES[0], jpeg(9, height, width)], [True])
    with pytest.raises(DataError, match=rf"x\.bin: image 1: {width} x {height} pixels; expected an aligned square"):
        load_bin(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((IMAGES, [True]), r"x\.bin: 4 images for 1 pairs; expected 2"),
        ((IMAGES[:3], [True, False]), r"x\.bin: 3 images for 2 pairs; expected 4"),
        (([], []), r"x\.bin: 0 images for 0 pairs; expected at least 2"),
        (IMAGES, r"x\.bin: its pickle is no pair \(images, same\)"),
        ({"images": 1}, r"x\.bin: its pickle has a step EMPTY_DICT"),
        ((IMAGES, 1), r"x\.bin: its pickle is no pair"),
        (([1, 2], [True]), r"x\.bin: image 0: int; expected the bytes of an encoded image"),
        ((IMAGES, [True, 2]), r"x\.bin: pair 1: 2 says neither same nor different"),
        ((IMAGES, [True, 10**5000]), r"x\.bin: pair 1: a value of type int says neither"),
        ((IMAGES, [True, [10**5000]]), r"x\.bin: pair 1: a value of type list says neither"),
        ((IMAGES, [True, None]), r"x\.bin: pair 1: None says neither"),
        (([b"x", b""], [True]), r"x\.bin: image 0: 1 bytes \(78\) are not an image"),
    ],
)
def test_content_that_is_no_verification_set_is_named(tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        load_bin(tmp_path / "x.bin")
    assert "\n" not in str(caught.value)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.bin: cannot be read"):
        load_bin(tmp_path / "gone.bin")
    (tmp_path / "x.bin").touch()
    with pytest.raises(DataError, match=r"x\.bin: not a readable pickle \(Ran out of input\)"):
        load_bin(tmp_path / "x.bin")


def test_pairs_of_a_folder_become_a_set_whose_tenths_are_balanced(tmp_path: Path) -> None:
    root = people_folder(tmp_path / "in", {f"p{number}": 4 for number in range(6)})
    calls: list[tuple[int, int]] = []
    make_bin(root, tmp_path / "x.bin", pairs=60, seed=3, progress=lambda *call: calls.append(call))
    assert load_bin(tmp_path / "x.bin").same.reshape(10, 6).sum(1).tolist() == [3] * 10
    assert calls == [(done, 120) for done in range(1, 121)]
    owner = {file.read_bytes(): file.parent.name for file in root.rglob("*.jpg")}
    encoded, same = read_bin(tmp_path / "x.bin")
    assert [owner[a] == owner[b] for a, b in zip(encoded[::2], encoded[1::2], strict=True)] == same


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    root = people_folder(tmp_path / "in", {f"p{number}": 4 for number in range(6)})
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_bin(root, tmp_path / name, pairs=40, seed=seed)
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_a_list_of_pairs_keeps_its_order(tmp_path: Path) -> None:
    people_folder(tmp_path, {"a": 2, "b": 1})
    (tmp_path / "pairs.txt").write_text("a/0.jpg b/0.jpg 0\na/0.jpg a/1.jpg 1\n")
    make_bin(tmp_path / "pairs.txt", tmp_path / "x.bin")
    names = ("a/0.jpg", "b/0.jpg", "a/0.jpg", "a/1.jpg")
    assert read_bin(tmp_path / "x.bin") == ([(tmp_path / name).read_bytes() for name in names], [False, True])


def test_a_broken_image_or_a_full_disk_leaves_the_former_file(tmp_path: Path) -> None:
    people_folder(tmp_path, {"a": 2})
    (tmp_path / "pairs.txt").write_text("a/0.jpg a/1.jpg 1\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.bin").write_bytes(b"former")
    with disk_full_after(1000), pytest.raises(DataError, match=r"x\.bin: cannot be written \(File too large"):
        make_bin(tmp_path / "pairs.txt", tmp_path / "out" / "x.bin")
    (tmp_path / "a" / "1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"a/1\.jpg: it has 0 bytes"):
        make_bin(tmp_path / "pairs.txt", tmp_path / "out" / "x.bin")
    assert [file.read_bytes() for file in (tmp_path / "out").iterdir()] == [b"former"]
