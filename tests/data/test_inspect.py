"""`info` counts, `check` finds everything that is wrong with a record folder."""

import re
import struct
import time
from pathlib import Path

import pytest

from insightface_cakd.data.inspect import check, info
from insightface_cakd.errors import DataError
from tests.data.record_files import image_record, insightface_set, jpeg, labelled_record, write_set


def lines(folder: Path, num_classes: int | None = None) -> list[str]:
    found = [str(finding) for finding in check(folder, num_classes)]
    assert not any("\n" in line for line in found)
    return found


def replace(folder: Path, before: bytes, after: bytes) -> None:
    data = (folder / "train.rec").read_bytes()
    assert data.count(before) == 1
    (folder / "train.rec").write_bytes(data.replace(before, after))


def test_info_counts_people_images_and_bytes(tmp_path: Path) -> None:
    facts = info(insightface_set(tmp_path, [1, 2, 6]))
    sizes = sorted(len(jpeg(key)) for key in range(1, 10))
    assert (facts.style, facts.identities, facts.images, facts.empty_identities) == ("insightface", 3, 9, 0)
    assert facts.images_per_identity == (1, 1.5, 2, 4, 6)
    assert facts.image_bytes == (sizes[0], sizes[2], sizes[4], sizes[6], sizes[8])
    assert (facts.formats, facts.pixels) == ({"jpeg": 9}, {(112, 112): 9})
    assert str(facts).splitlines()[:2] == [
        f"{tmp_path}: 9 images of 3 people, insightface style",
        "images per person: 1 to 6, median 2, quartiles 1.5 and 4",
    ]


def test_info_tells_gaps_and_people_without_images(tmp_path: Path) -> None:
    facts = info(write_set(tmp_path, {key: image_record(key, key, jpeg(key)) for key in (1, 3, 6)}))
    assert (facts.style, facts.identities, facts.empty_identities, facts.key_gaps) == ("im2rec", 7, 4, 3)


def test_info_reads_mxnets_sets(shared_data: Path) -> None:
    assert info(shared_data / "mxnet_fixture" / "im2rec").images_per_identity == (4,) * 5
    assert info(shared_data / "mxnet_fixture" / "png").formats == {"png": 4}


@pytest.mark.parametrize("name", ["insightface", "im2rec"])
def test_mxnets_sets_have_nothing_wrong(shared_data: Path, name: str) -> None:
    assert check(shared_data / "mxnet_fixture" / name) == []


def test_multi_part_records_are_no_damage(shared_data: Path) -> None:
    assert [finding.kind for finding in check(shared_data / "mxnet_fixture" / "multipart")] == ["class"]


def test_progress_ends_at_the_files_size(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    check(insightface_set(tmp_path, [2, 2]), progress=lambda *call: calls.append(call))
    size = (tmp_path / "train.rec").stat().st_size
    assert calls[-1] == (size, size)
    assert len(calls) == 7


PAYLOADS = {
    "empty": (b"", r"record 2 at offset \d+: it has 0 bytes"),
    "text": (b"some text", r"record 2 at offset \d+: 9 bytes .* not an image"),
    "cut off": (jpeg(2)[:600], r"record 2 at offset \d+: the JPEG of 600 bytes is truncated"),
    "size": (jpeg(2, 100, 90), r"record 2 at offset \d+: 90 x 100 pixels; expected 112 x 112"),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_that_is_no_face_is_found(tmp_path: Path, name: str) -> None:
    payload, message = PAYLOADS[name]
    records = {key: image_record(key % 2, key, payload if key == 2 else jpeg(key)) for key in range(5)}
    (line,) = lines(write_set(tmp_path, records))
    assert re.match(rf"error: .*train\.rec: {message}", line)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (float("nan"), "label nan is not an identity"),
        (-1.0, "label -1 is not an identity"),
        (0.5, "label 0.5 is not an identity"),
        (2.0**26, r"label 6.71089e\+07 is not an identity; expected a whole number from 0 to 16777216"),
        (2.0, "label 2; expected less than 2, the number of classes"),
    ],
)
def test_a_label_that_is_no_class_is_found(tmp_path: Path, label: float, message: str) -> None:
    labels = [0, 1, label, 0, 1]
    write_set(tmp_path, {key: image_record(labels[key], key, jpeg(key)) for key in range(5)})
    (line,) = lines(tmp_path, 2)
    assert re.search(rf"record 2 at offset \d+: {message}", line)


def test_labels_are_held_against_the_header_when_no_number_is_given(tmp_path: Path) -> None:
    insightface_set(tmp_path, [1, 1, 1])
    replace(tmp_path, struct.pack("<IfQQ", 0, 2.0, 3, 0), struct.pack("<IfQQ", 0, 3.0, 3, 0))
    found = lines(tmp_path)
    assert any("record 3 at offset" in line and "label 3; expected less than 3" in line for line in found)
    assert any("1 of 4 classes have no image, first 2" in line for line in found)


def test_a_truncated_file_is_found(tmp_path: Path) -> None:
    insightface_set(tmp_path, [2, 2])
    offsets = [int(line.split()[1]) for line in (tmp_path / "train.idx").read_text().splitlines()]
    (tmp_path / "train.rec").write_bytes((tmp_path / "train.rec").read_bytes()[: offsets[3] + 100])
    found = lines(tmp_path)
    assert f"record 3 at offset {offsets[3]}: the file ends after 92 of" in found[0]
    for key in (4, 5, 6):
        assert f"record {key} at offset {offsets[key]}: the file ends before it" in found[key - 3]


def test_damage_in_the_middle_hides_nothing_behind_it(tmp_path: Path) -> None:
    folder = write_set(tmp_path, {key: image_record(key % 2, key, jpeg(key)) for key in range(6)})
    offsets = [int(line.split()[1]) for line in (folder / "train.idx").read_text().splitlines()]
    data = bytearray((folder / "train.rec").read_bytes())
    data[offsets[2]] ^= 0xFF
    data[offsets[4] + 32 : offsets[4] + 34] = b"xx"
    (folder / "train.rec").write_bytes(bytes(data))
    first, second = lines(folder)
    assert f"record 2 at offset {offsets[2]}: found 0x" in first
    assert f"record 4 at offset {offsets[4]}: " in second
    assert "not an image" in second


def test_an_index_that_does_not_fit_is_found(tmp_path: Path) -> None:
    folder = write_set(tmp_path, {key: image_record(key % 2, key, jpeg(key)) for key in range(4)})
    rows = (folder / "train.idx").read_text().splitlines()
    (folder / "train.idx").write_text("\n".join([rows[0], rows[1], "2\t8", rows[3], rows[3]]) + "\n")
    offset = rows[2].split()[1]
    found = lines(folder)
    assert any(f"record without key at offset {offset}: the index has no line for it" in line for line in found)
    assert any("record 2 at offset 8: no record begins there" in line for line in found)
    assert any("key 3 stands there more than once" in line for line in found)
    assert len(found) == 3


def test_images_the_header_counts_but_the_index_lacks_are_found(tmp_path: Path) -> None:
    folder = insightface_set(tmp_path, [2, 2])
    rows = (folder / "train.idx").read_text().splitlines()
    (folder / "train.idx").write_text("\n".join(row for row in rows if not row.startswith("2\t")) + "\n")
    found = lines(folder)
    assert any(
        "1 keys are missing between 1 and 4, first 2; the header counts them as images" in line for line in found
    )
    assert any("record without key" in line for line in found)
    assert any("record 5 at offset" in line and "keys 1 to 2 are not one person's images" in line for line in found)


def test_gaps_in_im2rec_keys_are_a_warning(tmp_path: Path) -> None:
    write_set(tmp_path, {key: image_record(key % 2, key, jpeg(key)) for key in (4, 1, 2)})
    (line,) = lines(tmp_path)
    assert line.startswith("warning: ")
    assert "2 keys are missing between 0 and 4, first 0" in line


def test_classes_without_images_and_a_property_of_another_set_are_warnings(tmp_path: Path) -> None:
    folder = insightface_set(tmp_path, [1, 2])
    (folder / "property").write_text("2,112,112\n")
    assert check(folder) == []
    assert check(folder, 2) == []
    first, second = lines(folder, 4)
    assert first.startswith("warning: ")
    assert "2 of 4 classes have no image, first 2" in first
    assert "property: says 2 classes; expected 4" in second


@pytest.mark.parametrize("keys", [(1.0, 3.0), (float("nan"), 2.0), (1.0, 1e30), (2.0, 1.0)])
def test_an_identity_record_with_other_peoples_images_is_found(tmp_path: Path, keys: tuple[float, float]) -> None:
    records = {0: labelled_record((3, 5), 0), 1: image_record(0, 1, jpeg(1)), 2: image_record(1, 2, jpeg(2))}
    records |= {3: labelled_record(keys, 3), 4: labelled_record((2, 3), 4)}
    (line,) = lines(write_set(tmp_path, records))
    assert re.search(r"warning: .*record 3 at offset \d+: keys .* are not one person's images", line)


def test_the_time_of_a_check_does_not_grow_with_images_times_identities(tmp_path: Path) -> None:
    """Every identity record names all images of one person: 4 million looks at one image."""
    count = 2000
    records = {0: labelled_record((count + 1, 2 * count + 1), 0)}
    records |= {key: image_record(0, key, b"x") for key in range(1, count + 1)}
    records |= {key: labelled_record((1, count + 1), key) for key in range(count + 1, 2 * count + 1)}
    begun = time.monotonic()
    found = check(write_set(tmp_path, records))
    assert not [finding for finding in found if finding.kind == "identity"]
    assert time.monotonic() - begun < 5
    # A number of classes that no list of them would fit in memory.
    assert "999999999999 of 1000000000000 classes have no image, first 1" in "".join(map(str, check(tmp_path, 10**12)))


def test_a_header_that_is_none_is_found(tmp_path: Path) -> None:
    write_set(tmp_path, {0: labelled_record((float("nan"), 2), 0), 1: image_record(0, 1, jpeg(1))})
    assert "record 0 at offset 0: header labels nan, 2.0" in lines(tmp_path)[0]


def test_many_findings_of_a_kind_are_counted_not_listed(tmp_path: Path) -> None:
    write_set(tmp_path, {key: image_record(key % 2, key, b"bad") for key in range(50)})
    found = lines(tmp_path)
    assert len(found) == 21
    assert found[-1] == "error: image: 30 more of this kind"


def test_a_folder_without_records_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.rec: no such file"):
        check(tmp_path)
