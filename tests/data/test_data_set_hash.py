"""The name of a training set: equal for equal data, whatever holds it."""

import shutil

import pytest

from insightface_cakd.data import data_set_hash as module
from insightface_cakd.data.data_set_hash import data_set_hash
from insightface_cakd.data.pack import pack
from insightface_cakd.errors import DataError
from tests.data.record_files import jpeg, people_folder


@pytest.fixture
def people(tmp_path):
    people_folder(tmp_path / "people", {"anna": 3, "ben": 1, "cleo": 2})
    return tmp_path / "people"


def test_of_folders_and_of_what_packing_makes_of_them_is_equal(people, tmp_path):
    pack(people, tmp_path / "records")
    found = data_set_hash(tmp_path / "records")
    assert len(found) == 64
    assert found == data_set_hash(people) == data_set_hash(str(people))


def test_another_label_image_or_number_of_images_is_another_data_set(people, tmp_path):
    found = {data_set_hash(people)}
    for name in ("image", "label", "more"):
        other = shutil.copytree(people, tmp_path / name)
        if name == "image":
            (other / "ben" / "0.jpg").write_bytes(jpeg(99))
        elif name == "label":
            (other / "anna" / "2.jpg").rename(other / "ben" / "0_.jpg")
        else:
            shutil.copy(other / "cleo" / "1.jpg", other / "cleo" / "2.jpg")
        found.add(data_set_hash(other))
    assert len(found) == 4


def test_of_a_large_set_evenly_spaced_images_first_and_last_among_them_are_read(people, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLED", 3)
    found = data_set_hash(people)
    for person, image, read in (("anna", 0, True), ("anna", 1, False), ("anna", 2, True), ("cleo", 1, True)):
        other = shutil.copytree(people, tmp_path / f"{person}{image}")
        (other / person / f"{image}.jpg").write_bytes(jpeg(99))
        assert (data_set_hash(other) != found) == read


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        data_set_hash(tmp_path / "nowhere")
