"""Embeddings saved before, by us or elsewhere: taken as they are, or refused in one line."""

import numpy as np
import pytest

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces
from insightface_cakd.evaluate.ijb.store import open_saved
from tests.evaluate.ijb.test_extract import run
from tests.evaluate.ijb.trees import write_tree


@pytest.fixture
def tree(tmp_path):
    return find_tree(write_tree(tmp_path), "IJBC")


@pytest.mark.parametrize("damage", ["meta.json", "plain.npy", "mirrored.npy"])
def test_a_damaged_folder_is_told(tree, tmp_path, damage):
    run(tree, tmp_path / "e")
    path = tmp_path / "e" / damage
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(EvaluationError, match="expected embeddings saved by `cakd eval ijb`"):
        open_saved(tmp_path / "e", tree, read_faces(tree))


def test_arrays_saved_elsewhere_are_taken(tree, tmp_path):
    faces = read_faces(tree)
    found = run(tree, tmp_path / "e")
    np.savez(tmp_path / "e.npz", embs=found.plain, embs_f=found.mirrored)
    np.save(tmp_path / "e.npy", found.plain)
    for name, mirrored in (("e", True), ("e.npz", True), ("e.npy", False)):
        opened = open_saved(tmp_path / name, tree, faces)
        assert np.array_equal(opened.plain, found.plain)
        assert (opened.mirrored is not None) == mirrored


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda path: np.savez(path, other=np.zeros(3)), "holds no `embs`"),
        (lambda path: np.savez(path, embs=np.zeros((3, 8))), r"holds float64 \(3, 8\); expected floats \(48, D\)"),
        (lambda path: np.savez(path, embs=np.zeros((48, 8)), embs_f=np.zeros((48, 9))), r"holds float64 \(48, 9\)"),
        (lambda path: np.savez(path, embs=np.zeros((48, 0))), r"holds float64 \(48, 0\); expected floats \(48, D\)"),
        (lambda path: path.write_bytes(b"PK\x03\x04 nothing"), r"cannot be read \("),
    ],
)
def test_arrays_that_are_not_of_the_set_are_refused(tree, tmp_path, save, message):
    path = tmp_path / "e.npz"
    save(path)
    with pytest.raises(EvaluationError, match=message):
        open_saved(path, tree, read_faces(tree))


def test_embeddings_of_width_0_in_a_folder_or_an_npy_are_refused(tree, tmp_path):
    run(tree, tmp_path / "e")
    faces, empty = read_faces(tree), np.zeros((48, 0), np.float32)
    for path in (tmp_path / "e.npy", tmp_path / "e" / "plain.npy", tmp_path / "e" / "mirrored.npy"):
        np.save(path, empty)
    for name in ("e", "e.npy"):
        with pytest.raises(EvaluationError, match=r"\(48, 0\)"):
            open_saved(tmp_path / name, tree, faces)
