"""A record folder as a dataset: both styles, labels from headers, DataLoader workers."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from insightface_cakd.data.images import decode_rgb
from insightface_cakd.data.recordio import RecordReader
from insightface_cakd.data.records import FaceRecords, _first_identity
from insightface_cakd.errors import DataError
from tests.data.record_files import image_record, insightface_set, jpeg, labelled_record, write_set


def test_insightface_style_gives_keys_1_to_n_without_header_and_identities(shared_data: Path) -> None:
    faces = FaceRecords(shared_data / "mxnet_fixture" / "insightface")
    assert (faces.style, len(faces), faces.num_classes) == ("insightface", 60, 12)
    assert faces.keys.tolist() == list(range(1, 61))
    assert faces.labels().tolist() == [label for label in range(12) for _ in range(5)]


def test_im2rec_style_keeps_the_order_of_the_index(shared_data: Path) -> None:
    faces = FaceRecords(shared_data / "mxnet_fixture" / "im2rec")
    assert (faces.style, len(faces), faces.num_classes) == ("im2rec", 24, 6)
    assert faces.keys[:3].tolist() == [10, 9, 21]
    assert faces.labels()[:3].tolist() == [2, 2, 5]


@pytest.mark.parametrize("name", ["insightface", "im2rec", "png", "multipart"])
def test_items_are_the_pixels_and_first_labels_mxnet_gives(shared_data: Path, name: str) -> None:
    expected = json.loads((shared_data / "mxnet_fixture" / "expected.json").read_text())["sets"][name]["records"]
    rows = {row["key"]: row for row in expected}
    faces = FaceRecords(shared_data / "mxnet_fixture" / name)
    for index, key in enumerate(faces.keys.tolist()):
        pixels, label = faces[index]
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == rows[key]["pixels_sha256"]
        assert label == rows[key]["label"][0]
        assert isinstance(label, int)


def test_a_header_at_the_beginning_is_read_like_one_at_the_end(tmp_path: Path) -> None:
    faces = FaceRecords(insightface_set(tmp_path, [2, 3]))
    assert (faces.style, len(faces), faces.num_classes) == ("insightface", 5, 2)
    assert faces.labels().tolist() == [0, 0, 1, 1, 1]
    assert (faces[4][0] == decode_rgb(jpeg(5), "")).all()


def test_several_labels_on_an_image_with_key_0_do_not_make_it_a_header(tmp_path: Path) -> None:
    records = {key: labelled_record((key % 2, 99.0), key, jpeg(key)) for key in (0, 1, 2)}
    faces = FaceRecords(write_set(tmp_path, records))
    assert (faces.style, len(faces), faces.num_classes) == ("im2rec", 3, 2)
    assert faces.labels().tolist() == [0, 1, 0]


@pytest.mark.parametrize("gap", [0, 2])
def test_gaps_in_im2rec_keys_are_stepped_over(tmp_path: Path, gap: int) -> None:
    keys = [key for key in (3, 2, 1, 0) if key != gap]
    faces = FaceRecords(write_set(tmp_path, {key: image_record(key, key, jpeg(key)) for key in keys}))
    assert faces.keys.tolist() == keys
    assert [label for _, label in faces] == keys


def test_without_identity_records_the_labels_tell_the_number_of_classes(tmp_path: Path) -> None:
    records = {0: labelled_record((3, 3), 0), 1: image_record(0, 1, jpeg(1)), 2: image_record(4, 2, jpeg(2))}
    assert FaceRecords(write_set(tmp_path, records)).num_classes == 5


def test_labels_are_a_copy(tmp_path: Path) -> None:
    faces = FaceRecords(insightface_set(tmp_path, [1, 1]))
    faces.labels()[:] = 9
    assert faces.labels().tolist() == [0, 1]


def test_labels_do_not_look_at_the_images(tmp_path: Path) -> None:
    faces = FaceRecords(write_set(tmp_path, {key: image_record(key, key, b"no image") for key in (0, 1)}))
    assert faces.labels().tolist() == [0, 1]


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -1.0, 0.5, 2.0**25])
def test_a_label_that_is_no_identity_is_named_with_its_record(tmp_path: Path, label: float) -> None:
    faces = FaceRecords(write_set(tmp_path, {0: image_record(0, 0, b"abcd"), 7: image_record(label, 7, jpeg(7))}))
    message = r"train\.rec: record 7 at offset 36: label \S+ is not an identity; expected a whole number from 0"
    with pytest.raises(DataError, match=message):
        faces.labels()
    with pytest.raises(DataError, match=message):
        faces[1]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", r"record 4 at offset 0: 0 bytes \(none\) are not an image"),
        (b"not an image", r"record 4 at offset 0: 12 bytes .*are not an image"),
        (jpeg(1, 100, 112), r"record 4 at offset 0: 112 x 100 pixels; expected 112 x 112"),
    ],
)
def test_a_payload_that_is_no_face_is_named_with_its_record(tmp_path: Path, payload: bytes, message: str) -> None:
    faces = FaceRecords(write_set(tmp_path, {4: image_record(0, 4, payload)}))
    with pytest.raises(DataError, match=rf"train\.rec: {message}") as caught:
        faces[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ((float("nan"), 3.0), "header labels nan, 3.0; expected 1 < first <= last"),
        ((3.0, 2.0), "header labels 3.0, 2.0"),
        ((1.0, 1.0), "header labels 1.0, 1.0"),
        ((3.0, 3e38), r"the header counts \d{39} people; expected at most 16777216"),
        ((1e30, 1e30), r"the header counts \d+ images, the index has 3 lines"),
        ((4.0, 4.0), "1 of the 3 images of the header are not in it, first key 3"),
        ((2.0, 2.0), "the header counts 1 images, and key 2 holds one more; expected none behind them"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, header: tuple[float, float], message: str) -> None:
    records = {0: labelled_record(header, 0), 1: image_record(0, 1, jpeg(1)), 2: image_record(1, 2, jpeg(2))}
    with pytest.raises(DataError, match=message):
        FaceRecords(write_set(tmp_path, records))


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder; expected one that holds train\.rec"):
        FaceRecords(tmp_path / "gone")
    with pytest.raises(DataError, match=r"train\.rec: no such file"):
        FaceRecords(tmp_path)


@pytest.mark.parametrize("behind_last", [2**24 + 1, 2**24 + 2, 2**24 + 3])
def test_above_2_to_24_the_end_of_the_images_is_looked_up(tmp_path: Path, behind_last: int) -> None:
    # float32 cannot hold 2^24 + 1 or + 3: the header then says a neighbour.
    records = {key: image_record(0, key, b"image") for key in range(2**24 - 3, behind_last)}
    records |= {key: labelled_record((1, 2), key) for key in range(behind_last, behind_last + 5)}
    write_set(tmp_path, records)
    reader = RecordReader(tmp_path / "train.rec", tmp_path / "train.idx")
    assert _first_identity(reader, int(np.float32(behind_last))) == behind_last


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_workers_give_the_same_items_in_two_epochs(shared_data: Path, method: str) -> None:
    faces = FaceRecords(shared_data / "mxnet_fixture" / "insightface")
    alone = [faces[index] for index in range(len(faces))]
    loader = DataLoader(faces, batch_size=7, num_workers=2, multiprocessing_context=method, persistent_workers=True)
    for _ in range(2):
        batches = list(loader)
        assert (np.concatenate([images.numpy() for images, _ in batches]) == np.stack([rgb for rgb, _ in alone])).all()
        assert np.concatenate([labels.numpy() for _, labels in batches]).tolist() == [label for _, label in alone]


def test_workers_forked_anew_each_epoch_give_the_same_items(shared_data: Path) -> None:
    faces = FaceRecords(shared_data / "mxnet_fixture" / "multipart")
    sums = [int(rgb.sum()) for rgb, _ in faces]
    loader = DataLoader(faces, batch_size=1, num_workers=2, multiprocessing_context="fork")
    for _ in range(3):
        assert [int(images.long().sum()) for images, _ in loader] == sums


def test_an_error_in_a_worker_names_the_record(tmp_path: Path) -> None:
    faces = FaceRecords(write_set(tmp_path, {0: image_record(0, 0, jpeg(0)), 1: image_record(1, 1, b"broken")}))
    loader = DataLoader(faces, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(DataError, match=r"record 1 at offset \d+: 6 bytes .* are not an image"):
        list(loader)


def test_a_dataset_can_be_pickled_and_read(shared_data: Path) -> None:
    faces = FaceRecords(shared_data / "mxnet_fixture" / "png")
    faces[0]
    copy = pickle.loads(pickle.dumps(faces))
    assert (copy[3][0] == faces[3][0]).all()
    assert copy.labels().tolist() == faces.labels().tolist()
