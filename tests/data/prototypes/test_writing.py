"""Prototypes of a training set, from a network and from a cache of its embeddings."""

import json

import numpy as np
import pytest
import torch

from insightface_cakd import __version__
from insightface_cakd.data.data_set_hash import data_set_hash
from insightface_cakd.data.prototypes import META, Prototypes, write_prototypes
from insightface_cakd.data.prototypes.writing import LabelledFaces
from insightface_cakd.errors import DataError, TeacherError
from insightface_cakd.recipe.settings import given as with_weights
from insightface_cakd.tasks.precompute import cache_teacher, make_prototypes
from insightface_cakd.teachers import Teacher
from tests.commands import write_recipe
from tests.data.record_files import people_folder
from tests.networks.onnx_models import channel_means
from tests.prototype_files import write_folder
from tests.teachers.faces import ChannelMeans, TinyFace, as_input, faces

LABELS = np.array([2, 0, 1, 0, 2, 2, 3])


def teacher(network=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Teacher(network or TinyFace(), "tiny", 8 if network is None else 3, "cpu", sha256="5" * 64)


class Counted(list):
    """Batches that count how often one is read."""

    read = 0

    def __getitem__(self, number):
        self.read += 1
        return super().__getitem__(number)


def labelled(tmp_path, labels=LABELS, classes=4, size=3):
    images = faces(len(labels)).numpy()
    batches = Counted(images[start : start + size] for start in range(0, len(labels), size))
    return LabelledFaces(tmp_path / "people", "d" * 64, labels, classes, batches)


def written(tmp_path, **changes):
    write_prototypes(teacher(), labelled(tmp_path), tmp_path / "out", **changes)
    return Prototypes.open(tmp_path / "out")


def directions():
    """Mean of unit features by person, in float64."""
    images = as_input(faces(len(LABELS)))
    both = (teacher()(images) + teacher()(images.flip(-1))).double().numpy()
    units = both / np.linalg.norm(both, axis=1, keepdims=True)
    means = np.stack([units[c == LABELS].mean(axis=0) for c in range(4)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_prototype_is_the_mean_direction_of_a_person_and_of_the_mirror_images(tmp_path, size):
    write_prototypes(teacher(), labelled(tmp_path, size=size), tmp_path / "out")
    found = Prototypes.open(tmp_path / "out")
    np.testing.assert_allclose(found.rows, directions(), rtol=0, atol=1e-6)
    assert found.images.tolist() == [2, 1, 3, 1]
    cosines = directions() @ directions().T - 9 * np.eye(4)
    assert np.array_equal(found.hardest, np.argsort(-cosines, axis=1)[:, :3])


def test_one_image_is_the_prototype(tmp_path):
    image = as_input(faces(len(LABELS)))[2:3]
    feature = teacher()(image) + teacher()(image.flip(-1))
    expected = torch.nn.functional.normalize(feature)[0]
    torch.testing.assert_close(torch.tensor(written(tmp_path).rows[1]), expected, rtol=0, atol=1e-6)


def test_meta_says_whose_of_what_and_how_much(tmp_path):
    assert vars(written(tmp_path, nearest=2).meta) == {
        "teacher": "tiny",
        "teacher_sha256": "5" * 64,
        "data": "d" * 64,
        "num_classes": 4,
        "embedding_size": 8,
        "nearest": 2,
        "images": 7,
        "single": 2,
        "version": __version__,
        "takes": "rgb, mean 0.5, std 0.5",
        "kind": "prototypes",
        "format": 1,
        "labels": None,
    }
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"prototypes.npy", "hardest.npy", "images.npy", META}


def test_no_more_others_than_there_are(tmp_path):
    assert written(tmp_path, nearest=100).hardest.shape == (4, 3)


def test_progress_counts_images_and_people(tmp_path):
    seen = []
    written(tmp_path, progress=lambda *now: seen.append(now))
    assert seen == [(3, 11), (6, 11), (7, 11), (11, 11)]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 4], 6, r"people: 3 of 6 identities have no image \(2, 3, 5\); expected .* from 0 to 5"),
        ([0, 8], 9, r"people: 7 of 9 identities have no image \(1, 2, 3, 4, 5, \.\.\.\)"),
        ([0, 2], 2, r"people: label 2 of 2 identities; expected labels below"),
        ([0, 0], 1, r"people: one person; prototypes need at least 2"),
    ],
)
def test_labels_that_cannot_have_prototypes_are_refused_before_the_pass(tmp_path, labels, classes, message):
    faces_of = labelled(tmp_path, np.array(labels), classes)
    with pytest.raises(DataError, match=message):
        write_prototypes(teacher(), faces_of, tmp_path / "out")
    assert not faces_of.batches.read
    assert not list(tmp_path.iterdir())


class Broken(ChannelMeans):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        return super().forward(images) * self.factor


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (float("nan"), r"teacher tiny, images 0 to 2 of .*people: 3 of 3 embeddings are not finite; expected numbers"),
        (0.0, r"teacher tiny, images 0 to 2 of .*people: 3 of 3 embeddings are all zero"),
    ],
)
def test_a_teacher_that_says_nothing_is_refused_and_leaves_nothing(tmp_path, factor, message):
    with pytest.raises(TeacherError, match=message):
        write_prototypes(teacher(Broken(factor)), labelled(tmp_path), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"out: exists already; expected a new or empty folder"):
        written(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / META).unlink(), r"has no meta\.json; expected a folder written by `cakd data"),
        (lambda folder: (folder / "hardest.npy").unlink(), r"is damaged .*hardest\.npy"),
        (lambda folder: (folder / META).write_text("{}"), r"is damaged .*meta\.json is not of prototypes of format 1"),
        (lambda folder: np.save(folder / "hardest.npy", np.full((4, 1), 4, np.int32)), r"points at identities 4 to 4 of 4"),
        (lambda folder: np.save(folder / "prototypes.npy", np.zeros((3, 5), np.float32)), r"holds \(3, 5\) of float32, .*\(4, 5\)"),
        (lambda folder: np.save(folder / "images.npy", np.zeros(4)), r"images\.npy holds \(4,\) of float64"),
        (lambda folder: (folder / "prototypes.npy").write_bytes((folder / "prototypes.npy").read_bytes()[:-4]), r"is damaged"),
    ],
    ids=["no meta", "a file is missing", "another meta", "a list points outside", "another shape", "another type", "cut off"],
)  # fmt: skip
def test_a_damaged_folder_is_refused(tmp_path, break_it, message):
    folder = write_folder(tmp_path / "out", np.eye(4, 5))
    break_it(folder)
    with pytest.raises(TeacherError, match=message):
        Prototypes.open(folder)


def test_a_cache_of_embeddings_is_no_folder_of_prototypes(tmp_path, face_set):
    recipe = write_recipe(tmp_path / "own.yaml", network="onnx")
    channel_means(tmp_path / "means.onnx")
    cache_teacher(str(recipe), face_set, tmp_path / "cache", with_weights(teacher=str(tmp_path / "means.onnx")))
    with pytest.raises(TeacherError, match=r"another kind of folder \(meta\.json is not of prototypes"):
        Prototypes.open(tmp_path / "cache")


def test_a_cache_gives_the_networks_prototypes_up_to_half_precision(tmp_path, face_set):
    recipe = write_recipe(tmp_path / "own.yaml", network="onnx")
    cached = write_recipe(tmp_path / "cached.yaml", network="cached")
    channel_means(tmp_path / "means.onnx")
    given = str(tmp_path / "means.onnx")
    cache_teacher(str(recipe), face_set, tmp_path / "cache", with_weights(teacher=given))
    live = make_prototypes(str(recipe), face_set, tmp_path / "live", with_weights(teacher=given), nearest=4)
    stored = make_prototypes(
        str(cached), face_set, tmp_path / "stored", with_weights(teacher=str(tmp_path / "cache")), nearest=4
    )
    assert (live.teacher_sha256, live.data) == (stored.teacher_sha256, stored.data)
    assert live.data == data_set_hash(face_set)
    assert (live.num_classes, live.images, live.single) == (12, 48, 0)
    rows = [Prototypes.open(tmp_path / name).rows for name in ("live", "stored")]
    np.testing.assert_allclose(*rows, rtol=0, atol=1e-3)


def test_a_folder_of_people_will_do(tmp_path):
    people_folder(tmp_path / "people", {"anna": 1, "ben": 2})
    channel_means(tmp_path / "means.onnx")
    recipe = write_recipe(tmp_path / "own.yaml", network="onnx")
    meta = make_prototypes(
        str(recipe), tmp_path / "people", tmp_path / "out", with_weights(teacher=str(tmp_path / "means.onnx"))
    )
    assert (meta.num_classes, meta.images, meta.single, meta.nearest) == (2, 3, 1, 1)
    assert json.loads((tmp_path / "out" / META).read_text())["data"] == data_set_hash(tmp_path / "people")
