"""mxnet's calls without mxnet: what it gives, what it refuses, when it is there, and who else sees it."""

import hashlib
import importlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.images import encode_png
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import CAKDError, DataError
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.compat import FIXES, applied
from insightface_cakd.hosts.compat.mxnet import FORCE, MXNET

SETS = ("insightface", "im2rec", "png", "multipart")

# A data set as a user would write it; spawned workers import it by name.
DATASET = """
import mxnet as mx
import numpy as np


class Faces:
    def __init__(self, folder):
        self.records = mx.recordio.MXIndexedRecordIO(f"{folder}/train.idx", f"{folder}/train.rec", "r")
        header, _ = mx.recordio.unpack(self.records.read_idx(0))
        self.keys = np.arange(1, int(header.label[0]))

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, index):
        header, image = mx.recordio.unpack(self.records.read_idx(self.keys[index]))
        return mx.image.imdecode(image).asnumpy(), int(np.ravel(header.label)[0])
"""


@pytest.fixture
def mx(monkeypatch):
    monkeypatch.setenv(FORCE, "1")
    with applied([MXNET]):
        yield importlib.import_module("mxnet")


def package(folder: Path, code: str) -> Path:
    """Write a package `mxnet` of the given code."""
    (folder / "mxnet").mkdir()
    (folder / "mxnet" / "__init__.py").write_text(code)
    (folder / "mxnet" / "part.py").write_text("")
    return folder


def forget(package: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


@pytest.fixture
def without_mxnet():
    forget("mxnet")
    yield
    forget("mxnet")


# Records


@pytest.mark.parametrize("name", SETS)
def test_records_are_what_mxnet_read_from_its_own_files(mx, shared_data: Path, name: str):
    folder = shared_data / "mxnet_fixture"
    expected = json.loads((folder / "expected.json").read_text())["sets"][name]["records"]
    records = mx.recordio.MXIndexedRecordIO(str(folder / name / "train.idx"), str(folder / name / "train.rec"), "r")
    assert records.keys == [row["key"] for row in expected]
    for row in expected:
        header, image = mx.recordio.unpack(records.read_idx(np.int64(row["key"])))
        assert (header.flag, header.id, header.id2) == (row["flag"], row["id"], row["id2"])
        if header.flag == 0:
            assert isinstance(header.label, float)
            assert [header.label] == row["label"]
        else:
            assert header.label.dtype == np.float32
            assert header.label.tolist() == row["label"]
        assert hashlib.sha256(image).hexdigest() == row["payload_sha256"]
        if image:
            pixels = mx.image.imdecode(image).asnumpy()
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == row["pixels_sha256"]
    records.close()


def test_what_is_written_reads_back_with_the_flag_that_the_label_asks_for(mx, tmp_path: Path):
    paths = (str(tmp_path / "a.idx"), str(tmp_path / "a.rec"))
    writer = mx.recordio.MXIndexedRecordIO(*paths, "w")
    written = {5: 3.0, 1: np.float32(7), 9: [2.0, 4.0, 8.0]}
    for key, label in written.items():
        header = mx.recordio.IRHeader(flag=2, label=label, id=key, id2=11)
        writer.write_idx(key, mx.recordio.pack(header, b"image"))
    assert list(tmp_path.glob("a.*")) == []  # Whole or not at all.
    writer.close()
    reader = mx.recordio.MXIndexedRecordIO(*paths, "r")
    assert reader.keys == [5, 1, 9]
    read = {key: mx.recordio.unpack(reader.read_idx(key)) for key in reader.keys}
    assert [(header.flag, header.id, header.id2) for header, _ in read.values()] == [(0, 5, 11), (0, 1, 11), (3, 9, 11)]
    assert (read[5][0].label, read[1][0].label, read[9][0].label.tolist()) == (3.0, 7.0, [2.0, 4.0, 8.0])
    assert {image for _, image in read.values()} == {b"image"}


def test_a_missing_file_or_record_is_told_in_one_line(mx, face_set: Path):
    with pytest.raises(DataError, match=r"nowhere/train.rec: no such file"):
        mx.recordio.MXIndexedRecordIO("nowhere/train.idx", "nowhere/train.rec", "r")
    records = mx.recordio.MXIndexedRecordIO(face_set / "train.idx", face_set / "train.rec", "r")
    with pytest.raises(DataError, match="no key 100000"):
        records.read_idx(100000)


# Images and arrays


def test_the_short_side_is_resized_and_the_other_follows(mx):
    rgb = np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8)
    image = mx.image.imdecode(np.frombuffer(encode_png(rgb), np.uint8))
    assert (image.asnumpy() == rgb).all()
    assert mx.image.resize_short(image, 112).shape == (168, 112, 3)
    wide = mx.nd.transpose(image, axes=(1, 0, 2))
    assert mx.image.resize_short(wide, 113).shape == (113, 169, 3)  # 169.5, rounded down
    cubic = cv2.resize(rgb, (112, 168), interpolation=cv2.INTER_CUBIC)
    assert (mx.image.resize_short(image, 112).asnumpy() == cubic).all()


def test_arrays_do_what_their_names_say(mx):
    values = np.arange(24).reshape(2, 3, 4)
    array = mx.nd.array(values)
    assert (array.dtype, array.shape, len(array)) == (np.float32, (2, 3, 4), 2)
    assert (mx.ndarray.flip(data=array, axis=2).asnumpy() == values[:, :, ::-1]).all()
    assert (mx.nd.transpose(array, axes=(2, 0, 1)).asnumpy() == values.transpose(2, 0, 1)).all()
    assert (mx.nd.slice_axis(array, axis=1, begin=1, end=3).asnumpy() == values[:, 1:3]).all()
    assert (mx.nd.concat(array, array, dim=0).asnumpy() == np.concatenate([values, values])).all()
    zeros = mx.nd.zeros((3, 2))
    zeros[1] = mx.nd.array([5, 6])
    assert np.asarray(zeros).tolist() == [[0, 0], [5, 6], [0, 0]]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda mx: mx.model.load_checkpoint("r100", 1), "mxnet.model is"),
        (lambda mx: mx.gpu(0), "mxnet.gpu is"),
        (lambda mx: mx.nd.dot, "mxnet.ndarray.dot is"),
        (lambda mx: mx.nd.zeros(1).asscalar(), "mxnet.ndarray.NDArray.asscalar is"),
        (lambda mx: mx.recordio.MXRecordIO("a.rec", "r"), "mxnet.recordio.MXRecordIO is"),
        (lambda mx: mx.recordio.MXIndexedRecordIO("a.idx", "a.rec", "a"), "MXIndexedRecordIO with flag='a'"),
        (lambda mx: mx.image.imdecode(b"", flag=0), "mxnet.image.imdecode with flag=0"),
        (lambda mx: mx.gluon.nn, "mxnet.gluon.nn is"),
        (lambda mx: mx.gluon.data.DataLoader, "mxnet.gluon.data.DataLoader is"),
    ],
)
def test_a_call_that_is_not_served_is_named(mx, call, name: str):
    with pytest.raises(CAKDError, match=f"mxnet stand-in: .*{name}"):
        call(mx)


def test_a_name_that_is_not_served_is_an_attribute_that_is_not_there(mx):
    assert not hasattr(mx, "model")
    with pytest.raises(ImportError):
        importlib.import_module("mxnet.autograd")


# When it is there


def test_it_is_there_inside_the_block_only(monkeypatch, without_mxnet):
    monkeypatch.setenv(FORCE, "1")
    path = list(sys.path)
    with applied([MXNET]):
        stand_in = importlib.import_module("mxnet")
        assert stand_in.nd is stand_in.ndarray
    assert sys.path == path
    assert not [name for name in sys.modules if name.startswith("mxnet")]


def test_a_mxnet_that_imports_is_left_alone(tmp_path: Path, monkeypatch, without_mxnet):
    monkeypatch.delenv(FORCE, raising=False)
    monkeypatch.syspath_prepend(package(tmp_path, "REAL = True"))
    assert MXNET.applies() is None
    with applied([MXNET]) as chosen:
        assert chosen == []
        assert importlib.import_module("mxnet").REAL


def test_a_mxnet_that_imports_gives_way_when_told_and_comes_back(tmp_path: Path, monkeypatch, without_mxnet):
    monkeypatch.syspath_prepend(package(tmp_path, "REAL = True"))
    real = importlib.import_module("mxnet")
    monkeypatch.setenv(FORCE, "1")
    with applied([MXNET]):
        assert not hasattr(importlib.import_module("mxnet"), "REAL")
    assert sys.modules["mxnet"] is real


def test_a_mxnet_that_does_not_import_is_replaced(tmp_path: Path, monkeypatch, without_mxnet):
    monkeypatch.delenv(FORCE, raising=False)
    monkeypatch.syspath_prepend(package(tmp_path, "from mxnet import part\nraise AttributeError('no np.bool')"))
    assert "AttributeError: no np.bool" in (MXNET.applies() or "")
    assert "mxnet.part" not in sys.modules
    with applied([MXNET]):
        assert importlib.import_module("mxnet.recordio").IRHeader


# Who else sees it


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_reaches_the_workers_of_a_loader(mx, tmp_path: Path, monkeypatch, face_set: Path, method: str):
    (tmp_path / "drawn_faces.py").write_text(DATASET)
    monkeypatch.syspath_prepend(tmp_path)
    faces = importlib.import_module("drawn_faces").Faces(face_set)
    loader = DataLoader(faces, 8, num_workers=2, multiprocessing_context=method, collate_fn=list)
    read = [item for batch in loader for item in batch]
    ours = FaceRecords(face_set)
    assert len(read) == len(ours)
    assert all((a == b).all() and i == j for (a, i), (b, j) in zip(read, ours, strict=True))
    forget("drawn_faces")


@pytest.mark.upstream
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_arcface_torchs_own_dataset_reads_in_workers(arcface_torch: Path, face_set: Path, method: str):
    checkout = find_checkout(arcface_torch)
    with checkout.imported(), applied(FIXES):
        faces = checkout.load("dataset").MXFaceDataset(root_dir=str(face_set), local_rank=0)
        faces.transform = None
        loader = DataLoader(faces, 8, num_workers=2, multiprocessing_context=method, collate_fn=list)
        read = [item for batch in loader for item in batch]
    ours = FaceRecords(face_set)
    assert len(read) == len(ours)
    assert all((a == b).all() and int(i) == j for (a, i), (b, j) in zip(read, ours, strict=True))


@pytest.mark.upstream
def test_arcface_torchs_load_bin_gives_the_images_of_ours(arcface_torch: Path, face_set: Path):
    checkout = find_checkout(arcface_torch)
    with checkout.imported(), applied(FIXES):
        (plain, flipped), same = checkout.load("eval.verification").load_bin(str(face_set / "dev.bin"), (112, 112))
    ours = load_bin(face_set / "dev.bin")
    assert list(same) == ours.same.tolist()
    assert (plain.numpy() == ours.images.transpose(0, 3, 1, 2)).all()
    assert (flipped.numpy() == plain.numpy()[..., ::-1]).all()
