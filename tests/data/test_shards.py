"""Several record files as one set: labels, order, errors, and a training from it."""

import numpy as np
import pytest
import torch

from insightface_cakd.data.data_set_hash import data_set_hash
from insightface_cakd.data.label_order import label_order
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.data.shards import ShardedFaces, join
from insightface_cakd.errors import DataError
from insightface_cakd.hosts.embedded.dataset import get_dataloader
from tests.commands import cakd
from tests.data.record_files import image_record, insightface_set, jpeg, write_set


@pytest.fixture
def folders(tmp_path):
    """7 images of 3 people with a header, 4 of 2 in im2rec style."""
    second = {key: image_record(key % 2, key, jpeg(100 + key)) for key in (3, 2, 1, 0)}
    return [insightface_set(tmp_path / "one", [2, 4, 1]), write_set(tmp_path / "two", second)]


def test_own_labels_are_counted_on_and_shared_ones_stay(folders, tmp_path):
    own, shared = (join(folders, tmp_path / labels, labels) for labels in ("own", "shared"))
    assert own.labels().tolist() == [0, 0, 1, 1, 1, 1, 2, 4, 3, 4, 3]
    assert shared.labels().tolist() == [0, 0, 1, 1, 1, 1, 2, 1, 0, 1, 0]
    assert (own.num_classes, shared.num_classes) == (5, 3)


def test_items_are_those_of_each_file_in_turn_and_labels_those_of_labels(folders, tmp_path):
    faces = join(folders, tmp_path / "both", "own")
    alone = [item for folder in folders for item in FaceRecords(folder)]
    assert len(faces) == len(alone) == 11
    for index, ((pixels, label), (expected, _)) in enumerate(zip(faces, alone, strict=True)):
        assert np.array_equal(pixels, expected)
        assert label == faces.labels()[index]
        assert faces.stored(index)[0] == label


def test_a_part_of_one_numbering_may_hold_labels_beyond_its_own_people(tmp_path):
    parts = [write_set(tmp_path / str(p), {k: image_record(p + 3 * k, k, jpeg(k)) for k in (0, 1)}) for p in (0, 1)]
    faces = join(parts, tmp_path / "all", "shared")
    assert faces.labels().tolist() == [0, 3, 1, 4]
    assert faces.num_classes == 5


def test_own_labels_beyond_a_header_are_refused(tmp_path):
    part = insightface_set(tmp_path / "one", [1, 1])
    content = (part / "train.rec").read_bytes()
    wrong = content.replace(
        np.float32(1).tobytes() + np.uint64(2).tobytes(), np.float32(9).tobytes() + np.uint64(2).tobytes()
    )
    assert wrong != content
    (part / "train.rec").write_bytes(wrong)
    with pytest.raises(DataError, match=r"one/train\.rec: labels up to 9, and the header counts 2 people"):
        join([part], tmp_path / "all", "own")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_comes_exactly_once_an_epoch(folders, tmp_path, workers):
    join(folders, tmp_path / "both", "own")
    loader = get_dataloader(str(tmp_path / "both"), 0, 1, num_workers=workers, device=torch.device("cpu"))
    assert len(loader) == 11
    expected = sorted((np.sort(pixels.ravel()).tobytes(), label) for pixels, label in ShardedFaces(tmp_path / "both"))
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        seen = []
        for images, labels in loader:
            pixels = ((images + 1) * 127.5).round().to(torch.uint8).numpy()
            seen.append((np.sort(pixels.ravel()).tobytes(), int(labels)))
        assert sorted(seen) == expected


def test_folders_are_relative_to_the_file(folders, tmp_path):
    (tmp_path / "shards.yaml").write_text("labels: own\nfolders: [two, one]\n")
    assert ShardedFaces(tmp_path).labels().tolist() == [1, 0, 1, 0, 2, 2, 3, 3, 3, 3, 4]


def test_hash_and_labelling_see_order_and_kind_of_labels(folders, tmp_path):
    join(folders, tmp_path / "own", "own")
    join(folders, tmp_path / "shared", "shared")
    join(folders[::-1], tmp_path / "turned", "own")
    names = ("own", "shared", "turned")
    assert len({data_set_hash(tmp_path / name) for name in names}) == 3
    assert not label_order(tmp_path / "own").fits(label_order(tmp_path / "turned"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folders: [one]", "labels: Field required"),
        ("labels: both\nfolders: [one]", "labels: Input should be 'own' or 'shared'"),
        ("labels: own\nfolders: []", "folders: List should have at least 1 item"),
        ("labels: own\nfolders: [one]\nlable: 1", "lable: Extra inputs are not permitted"),
        ("labels: own\nlabels: own", "labels"),
        ("labels: own\nfolders: [one, ./one]", "names .*one and .*one, the same folder; expected each once"),
        ("labels: own\nfolders: [three]", "three: no such folder"),
        ("", "the file: Input should be"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(folders, tmp_path, text, message):
    (tmp_path / "shards.yaml").write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        ShardedFaces(tmp_path)
    assert "\n" not in str(raised.value)


def test_errors_of_an_item_name_its_own_file(folders, tmp_path):
    bad = write_set(tmp_path / "bad", {0: image_record(0, 0, jpeg(0)), 1: image_record(1, 1, b"no image")})
    faces = join([*folders, bad], tmp_path / "all", "own")
    with pytest.raises(DataError, match=r"bad/train\.rec: record 1 at offset \d+: .* are not an image"):
        faces[12]
    with pytest.raises(IndexError):
        faces[13]


def test_the_command_says_what_was_joined(folders, tmp_path):
    ran = cakd("data", "join", *folders, "--labels", "own", "--out", tmp_path / "both")
    assert ran.code == 0, ran.err
    assert ran.out == f"{tmp_path / 'both'}: 11 images of 5 people in 2 record files\n"
