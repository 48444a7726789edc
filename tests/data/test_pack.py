"""A folder of people becomes InsightFace's classic record layout, and a folder again."""

from pathlib import Path

import pytest

from insightface_cakd.data.images import decode_rgb, encode_png
from insightface_cakd.data.inspect import check
from insightface_cakd.data.pack import pack, unpack
from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordReader
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError
from tests.data.record_files import content, disk_full_after, image_record, jpeg, people_folder, picture, write_set


def test_the_layout_is_insightfaces(tmp_path: Path) -> None:
    # By name as text: p10 (3 images) is label 0, p2 (2 images) is label 1.
    summary = pack(people_folder(tmp_path / "in", {"p2": 2, "p10": 3}), tmp_path / "out")
    assert (summary.identities, summary.images, summary.kept, summary.skipped) == (2, 5, 5, ())
    reader = RecordReader(tmp_path / "out" / "train.rec", tmp_path / "out" / "train.idx")
    assert reader.keys.tolist() == list(range(8))
    assert reader.read(0) == Record(2, (6.0, 8.0), 0)
    for key, path in enumerate(("p10/0", "p10/1", "p10/2", "p2/0", "p2/1"), start=1):
        payload = (tmp_path / "in" / f"{path}.jpg").read_bytes()
        assert reader.read(key) == Record(0, (float(key > 3),), key, 0, payload)
    assert reader.read(6) == Record(2, (1.0, 4.0), 6)
    assert reader.read(7) == Record(2, (4.0, 6.0), 7)
    assert (tmp_path / "out" / "property").read_bytes() == b"2,112,112\n"
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["property", "train.idx", "train.rec"]


def test_packing_again_gives_the_same_files(tmp_path: Path) -> None:
    people_folder(tmp_path / "in", {"a": 2, "b": 1})
    pack(tmp_path / "in", tmp_path / "one")
    pack(tmp_path / "in", tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_real_faces_keep_their_bytes_and_labels(shared_data: Path, tmp_path: Path) -> None:
    for person in sorted((shared_data / "lfw_train").iterdir())[:30]:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / person.name).symlink_to(person)
    pack(tmp_path / "in", tmp_path / "out")
    faces = FaceRecords(tmp_path / "out")
    files = [(label, file) for label in range(30) for file in sorted((tmp_path / "in" / f"id_{label:04}").iterdir())]
    assert [faces.reader.read(key).payload for key in faces.keys.tolist()] == [file.read_bytes() for _, file in files]
    assert faces.labels().tolist() == [label for label, _ in files]
    assert check(tmp_path / "out", 30) == []


def test_a_record_whose_jpeg_holds_the_magic_survives_packing(shared_data: Path, tmp_path: Path) -> None:
    source = FaceRecords(shared_data / "mxnet_fixture" / "multipart")
    unpack(shared_data / "mxnet_fixture" / "multipart", tmp_path / "in")
    people_folder(tmp_path / "in", {"other": 1})
    pack(tmp_path / "in", tmp_path / "out")
    packed = FaceRecords(tmp_path / "out").reader
    assert [packed.read(key).payload for key in (1, 2, 3, 4)] == [source.reader.read(key).payload for key in range(4)]


@pytest.mark.parametrize("name", ["insightface", "im2rec"])
def test_unpack_and_pack_give_the_same_images_and_labels(shared_data: Path, tmp_path: Path, name: str) -> None:
    faces = FaceRecords(shared_data / "mxnet_fixture" / name)
    assert unpack(shared_data / "mxnet_fixture" / name, tmp_path / "people") == len(faces)
    pack(tmp_path / "people", tmp_path / "again")
    again = FaceRecords(tmp_path / "again")
    before = {(label, faces.reader.read(key).payload) for key, label in zip(faces.keys, faces.labels(), strict=True)}
    after = {(label, again.reader.read(key).payload) for key, label in zip(again.keys, again.labels(), strict=True)}
    assert before == after
    assert len(after) == len(faces)


def test_png_images_are_unpacked_as_png(shared_data: Path, tmp_path: Path) -> None:
    assert unpack(shared_data / "mxnet_fixture" / "png", tmp_path / "out") == 4
    names = sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*.*"))
    assert names == ["0/0.png", "1/1.png", "2/2.png", "4/3.png"]


def test_other_sizes_and_formats_are_encoded_and_counted(tmp_path: Path) -> None:
    people_folder(tmp_path / "in", {"a": 1, "b": 1})
    (tmp_path / "in" / "b" / "1.jpg").write_bytes(jpeg(5, 250, 250))
    (tmp_path / "in" / "b" / "2.png").write_bytes(encode_png(picture(6)))
    (tmp_path / "in" / "b" / "notes.txt").write_text("no image")
    summary = pack(tmp_path / "in", tmp_path / "out")
    assert (summary.images, summary.kept) == (4, 3)
    assert [path.name for path in summary.skipped] == ["notes.txt"]
    faces = FaceRecords(tmp_path / "out")
    assert abs(faces[2][0].astype(int) - decode_rgb(jpeg(5), "")).mean() < 8
    assert (faces[3][0] == picture(6)).all()


def test_without_keep_bytes_the_quality_decides_the_size(tmp_path: Path) -> None:
    people_folder(tmp_path / "in", {"a": 3, "b": 3})
    sizes = []
    for quality in (20, 95):
        summary = pack(tmp_path / "in", tmp_path / str(quality), quality=quality, keep_bytes=False)
        assert summary.kept == 0
        sizes.append((tmp_path / str(quality) / "train.rec").stat().st_size)
    assert sizes[0] < sizes[1]


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    pack(people_folder(tmp_path / "in", {"a": 2, "b": 1}), tmp_path / "out", progress=lambda *call: calls.append(call))
    unpack(tmp_path / "out", tmp_path / "people", progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)] * 2


def broken_people(root: Path, files: dict[str, bytes]) -> Path:
    people_folder(root, {"a": 1, "b": 1})
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root


BAD_IMAGES = {
    "0 bytes": ({"a/x.jpg": b""}, r"a/x\.jpg: it has 0 bytes"),
    "text": ({"a/x.jpg": b"text"}, r"a/x\.jpg: 4 bytes .* not an image OpenCV reads"),
    "cut off": ({"a/x.jpg": jpeg(1)[:700]}, r"a/x\.jpg: the JPEG of 700 bytes is truncated"),
    "not square": ({"a/x.jpg": jpeg(1, 112, 80)}, r"a/x\.jpg: 80 x 112 pixels; expected an aligned square face"),
    "five of them": (
        {f"b/x{number}.png": b"" for number in range(5)},
        r"^5 of 7 images cannot be used: .*b/x0\.png: .* \| .*b/x1\.png.* \| .*b/x2\.png.* \(and 2 more\)$",
    ),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_images_that_cannot_be_used_are_named_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    files, message = BAD_IMAGES[case]
    broken_people(tmp_path / "in", files)
    with pytest.raises(DataError, match=message) as caught:
        pack(tmp_path / "in", tmp_path / "new" / "out")
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_one_person_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one person \('a'\); training needs at least 2"):
        pack(people_folder(tmp_path / "in", {"a": 3}), tmp_path / "out")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no subfolder holds images"):
        pack(tmp_path / "in", tmp_path / "out")


def test_an_existing_set_is_never_replaced(tmp_path: Path) -> None:
    people_folder(tmp_path / "in", {"a": 1, "b": 1})
    pack(tmp_path / "in", tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(DataError, match="exists already"):
        pack(tmp_path / "in", tmp_path / "out")
    with pytest.raises(DataError, match="exists already"):
        unpack(tmp_path / "out", tmp_path / "in")
    assert content(tmp_path / "out") == before


def test_a_full_disk_gives_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    people_folder(tmp_path / "in", {"a": 8, "b": 8})
    pack(tmp_path / "in", tmp_path / "whole")
    with (
        disk_full_after(9000),
        pytest.raises(DataError, match=r"out: cannot be written \(File too large\); nothing was left"),
    ):
        pack(tmp_path / "in", tmp_path / "out")
    with disk_full_after(100), pytest.raises(DataError, match=r"people: cannot be written \(File too large"):
        unpack(tmp_path / "whole", tmp_path / "people")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "whole"]


def test_unpack_names_a_record_without_an_image(tmp_path: Path) -> None:
    write_set(tmp_path / "in", {0: image_record(0, 0, jpeg(0)), 1: image_record(1, 1, b"")})
    with pytest.raises(DataError, match=r"record 1 at offset \d+: it has 0 bytes; expected an image"):
        unpack(tmp_path / "in", tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
