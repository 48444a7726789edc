"""Whose label is which: the same for one labelling however it is stored, another for another numbering of the same people."""

import os
import shutil

import pytest

from insightface_cakd.data import label_order as subject
from insightface_cakd.data.folder_faces import FolderFaces
from insightface_cakd.data.folders import natural_key
from insightface_cakd.data.label_order import LabelOrder, as_saved, check_labels, label_order, order_of
from insightface_cakd.data.pack import pack, unpack
from insightface_cakd.data.recordio import RecordReader
from insightface_cakd.errors import RunError
from tests.data.record_files import people_folder

TWELVE = {str(number): 4 for number in range(1, 13)}


@pytest.fixture
def twelve(tmp_path):
    """Folders 1 to 12 of four images each."""
    return people_folder(tmp_path / "twelve", TWELVE)


def numbered_naturally(folder):
    """Return the labels that an earlier version gave: 1, 2, ..., 10, 11, 12."""
    faces = FolderFaces(folder)
    paths = sorted({path.parent for path, _ in faces.items}, key=natural_key)
    faces.names = [path.name for path in paths]
    by_name = {name: number for number, name in enumerate(faces.names)}
    faces.items = sorted(((path, by_name[path.parent.name]) for path, _ in faces.items), key=lambda item: item[1])
    return order_of(faces, str(folder))


def test_another_order_of_the_same_folders_does_not_fit(twelve):
    now, before = label_order(twelve), numbered_naturally(twelve)
    assert before.classes == now.classes == 12
    assert now.fits(label_order(twelve))
    assert not now.fits(before)
    assert before.sample != now.sample, "records of either would not fit, too"


def test_folders_fit_what_is_packed_of_them_and_unpacked_again(twelve, tmp_path):
    pack(twelve, tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "unpacked")
    folder, packed, unpacked = (label_order(path) for path in (twelve, tmp_path / "packed", tmp_path / "unpacked"))
    assert packed.names is None
    assert folder.fits(packed)
    assert packed.fits(folder)
    assert packed.fits(unpacked)
    assert not folder.fits(unpacked), "the folders have other names"


def test_more_images_of_the_same_people_fit_and_another_person_does_not(twelve):
    before = label_order(twelve)
    shutil.copy(next((twelve / "3").iterdir()), twelve / "3" / "one_more.png")
    assert before.fits(label_order(twelve))
    shutil.copytree(twelve / "3", twelve / "13")
    assert not before.fits(label_order(twelve))


def test_two_people_who_change_names_are_noticed_however_many_there_are(tmp_path):
    """A sample of the images would not notice two of thousands."""
    folder = people_folder(tmp_path / "many", {f"id_{number:04}": 1 for number in range(600)})
    before = label_order(folder)
    assert len(FolderFaces(folder)) > subject.SAMPLED
    (folder / "id_0007").rename(folder / "id_0007x")
    assert not before.fits(label_order(folder))


def test_records_of_other_labels_do_not_fit(twelve, tmp_path):
    (tmp_path / "other").mkdir()
    for number, name in enumerate(sorted(TWELVE, key=int)):
        shutil.copytree(twelve / name, tmp_path / "other" / f"{number:02}")
    pack(twelve, tmp_path / "text")
    pack(tmp_path / "other", tmp_path / "natural")
    assert not label_order(tmp_path / "text").fits(label_order(tmp_path / "natural"))


def test_of_a_large_record_file_a_bounded_number_of_images_is_read(tmp_path, monkeypatch):
    pack(people_folder(tmp_path / "people", {"a": 700, "b": 700}), tmp_path / "packed")
    reads, read = [], RecordReader.read

    def counting(self, key):
        reads.append(key)
        return read(self, key)

    monkeypatch.setattr(RecordReader, "read", counting)
    order = label_order(tmp_path / "packed")
    assert order.classes == 2
    assert len(reads) <= subject.SAMPLED + 4, "and the header"


def test_noise_has_no_people():
    assert label_order("synthetic") is None


def test_what_is_saved_is_plain_and_compared(twelve):
    saved = as_saved(label_order(twelve))
    assert {type(value) for value in saved.values()} <= {str, int}
    assert saved["data"] == os.path.abspath(twelve)
    check_labels(saved, label_order(twelve), "here", RunError, "Stop.")
    expected = (
        r"^here: made on /.*twelve \(12 people, labels [0-9a-f]{8}\), the data are /.*twelve \(12 people, labels [0-9a-f]{8}\) now, and "
        r"their labels stand for other people; expected the same labels\. Stop\.$"
    )
    with pytest.raises(RunError, match=expected):
        check_labels(as_saved(numbered_naturally(twelve)), label_order(twelve), "here", RunError, "Stop.")


@pytest.mark.parametrize("saved", [None, "text", {}, {"data": "x"}, {"data": "x", "labels": 1}])
def test_what_says_nothing_is_not_compared(saved, twelve):
    check_labels(saved, label_order(twelve), "here", RunError, "Stop.")
    check_labels(as_saved(label_order(twelve)), None, "here", RunError, "Stop.")


@pytest.mark.parametrize(("classes", "fits"), [(12, True), (None, True), (13, False)])
def test_the_number_of_people_counts_where_it_is_known(classes, fits):
    assert LabelOrder("a", 12, None, "s").fits(LabelOrder("b", classes, None, "s")) is fits


def test_names_of_any_bytes_have_an_identity(tmp_path):
    folder = people_folder(tmp_path / "people", {"a": 1, "b": 1})
    os.rename(os.fsencode(folder / "b"), os.fsencode(folder) + b"/\xff\xfe")
    assert label_order(folder).names
