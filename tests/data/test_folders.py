"""Folders of people in a documented order; outputs whole or not there."""

from pathlib import Path

import pytest

from insightface_cakd.data.folders import (
    find_people,
    image_files,
    is_dangling,
    natural_key,
    require_new_folder,
    shown,
    skipped_line,
    writing,
)
from insightface_cakd.errors import DataError
from tests.data.record_files import jpeg, people_folder


def test_digits_sort_as_numbers_and_the_rest_by_code_point() -> None:
    names = ["id_10", "id_2", "B", "a", "id_02", "7", "10", "id_2b", "Á"]
    assert sorted(map(Path, names), key=natural_key) == [
        Path(name) for name in ("7", "10", "B", "a", "id_02", "id_2", "id_2b", "id_10", "Á")
    ]


def test_people_come_in_the_order_of_their_names_as_text_and_images_in_natural_order(tmp_path: Path) -> None:
    people = find_people(people_folder(tmp_path, {"p10": 11, "p9": 2}))
    assert people.names == ["p10", "p9"]
    assert [image.name for image in people.images[0]] == [f"{number}.jpg" for number in range(11)]


def test_what_is_no_image_of_a_person_is_skipped_and_listed(tmp_path: Path) -> None:
    people_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loose.jpg").write_bytes(jpeg(1))
    people = find_people(tmp_path)
    assert people.names == ["a", "b"]
    assert [path.name for path in people.skipped] == ["Thumbs.db", "empty", "loose.jpg"]


def test_people_are_numbered_as_torchvision_numbers_them(tmp_path: Path) -> None:
    """arcface_torch reads folders by it."""
    names = [*map(str, range(1, 13)), "Zoe", "anna", "Émile", "id_2", "id_10"]
    folder = people_folder(tmp_path, dict.fromkeys(names, 1))
    image_folder = pytest.importorskip("torchvision.datasets").ImageFolder
    assert {name: label for label, name in enumerate(find_people(folder).names)} == image_folder(folder).class_to_idx


LITTER = (
    ".ipynb_checkpoints/0-checkpoint.jpg",
    "__MACOSX/a/._0.jpg",
    ".DS_Store",
    "a/.ipynb_checkpoints/0-checkpoint.jpg",
    "a/._0.jpg",
    "b/Thumbs.db",
    "b/@eaDir/0.jpg",
    ".hidden.jpg",
)


def test_what_systems_and_notebooks_leave_is_no_person_and_no_face(tmp_path: Path) -> None:
    people_folder(tmp_path, {"a": 2, "b": 1})
    for name in LITTER:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(1))
    people = find_people(tmp_path)
    assert (people.names, [len(images) for images in people.images]) == (["a", "b"], [2, 1])
    found = [path.relative_to(tmp_path).as_posix() for path in people.skipped]
    left = {
        ".ipynb_checkpoints",
        "__MACOSX",
        ".DS_Store",
        ".hidden.jpg",
        "a/.ipynb_checkpoints",
        "a/._0.jpg",
        "b/Thumbs.db",
        "b/@eaDir",
    }
    assert set(found) == left
    assert len(found) == len(left)
    assert [path.name for path in image_files(tmp_path)] == ["0.jpg", "1.jpg", "0.jpg"]
    line = skipped_line([shown(path, tmp_path) for path in people.skipped])
    assert line.startswith("skipped, no image or in no person's folder: 8 (.DS_Store; ")
    assert line.endswith("; ...)")


def test_images_below_a_persons_folder_count_and_links_are_followed(tmp_path: Path) -> None:
    people_folder(tmp_path / "there", {"a": 2})
    (tmp_path / "here" / "b" / "video").mkdir(parents=True)
    (tmp_path / "here" / "b" / "video" / "1.JPEG").write_bytes(jpeg(1))
    (tmp_path / "here" / "a").symlink_to(tmp_path / "there" / "a")
    assert [len(images) for images in find_people(tmp_path / "here").images] == [2, 1]


def test_a_link_to_nothing_does_not_vanish(tmp_path: Path) -> None:
    people_folder(tmp_path, {"a": 1})
    for name in ("a/1.jpg", "a/2.gif", "b"):
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    people = find_people(tmp_path)
    assert [image.name for image in people.images[0]] == ["0.jpg", "1.jpg"]
    assert [path.name for path in people.skipped] == ["2.gif", "b"]
    assert [is_dangling(tmp_path / name) for name in ("a", "a/0.jpg", "a/1.jpg", "b", "c")] == [0, 0, 1, 1, 0]


def test_a_folder_without_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; expected one subfolder for each person"):
        find_people(tmp_path / "gone")
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    with pytest.raises(DataError, match="no subfolder holds images"):
        find_people(tmp_path)


def test_an_output_folder_must_be_new_and_outside_the_input(tmp_path: Path) -> None:
    people_folder(tmp_path / "in", {"a": 1})
    with pytest.raises(DataError, match="exists already; expected a new or empty folder"):
        require_new_folder(tmp_path / "in", tmp_path)
    with pytest.raises(DataError, match="lies inside the input folder"):
        require_new_folder(tmp_path / "in" / "out", tmp_path / "in")
    (tmp_path / "empty").mkdir()
    require_new_folder(tmp_path / "empty", tmp_path / "in")


def _write_half(out: Path, error: Exception) -> None:
    with writing(out) as path:
        path.write_bytes(b"half")
        raise error


def test_a_failed_write_leaves_nothing_and_names_the_reason(tmp_path: Path) -> None:
    out = tmp_path / "new" / "deep" / "file"
    with pytest.raises(DataError, match=r"deep/file: cannot be written \(No space left on device"):
        _write_half(out, OSError(28, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_former_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"former")
    with pytest.raises(RuntimeError, match="stop"):
        _write_half(tmp_path / "file", RuntimeError("stop"))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"former"]
