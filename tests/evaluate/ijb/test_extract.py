"""Embeddings of a tree: the same whatever batch and workers, gone on with after a kill, never of another model."""

import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from insightface_cakd.errors import DataError, EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.ijb import extract as module
from insightface_cakd.evaluate.ijb.crops import read_face
from insightface_cakd.evaluate.ijb.extract import both_views, extract
from insightface_cakd.evaluate.ijb.lists import Faces, Tree, find_tree, read_faces
from insightface_cakd.evaluate.ijb.presets import PIXELS, PRESETS
from insightface_cakd.evaluate.ijb.store import Embeddings, Origin, faces_sha256, open_saved
from tests.evaluate.ijb.trees import Projection, write_tree

CPU = torch.device("cpu")


@pytest.fixture
def tree(tmp_path) -> Tree:
    return find_tree(write_tree(tmp_path), "IJBC")


def origin_of(tree: Tree, faces: Faces, **other) -> Origin:
    origin = Origin("m.onnx", "a" * 64, None, "(x-127.5)/128", "IJBC", faces_sha256(tree, faces), len(faces.names))
    return replace(origin, **other)


def run(tree: Tree, folder: Path, batch=5, workers=2, model=None, **other) -> Embeddings:
    faces = read_faces(tree)
    limit = other.pop("max_corrupt", 0)
    net = (model or Projection()).eval()
    return extract(
        lambda: net, origin_of(tree, faces, **other), tree, faces, folder, Execution(CPU, batch, workers), limit
    )


def one_by_one(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    faces, net = read_faces(tree), Projection().eval()
    crops = [read_face(tree.images / name, points)[0] for name, points in zip(faces.names, faces.points, strict=True)]
    with torch.no_grad():
        rows = [net(both_views(crop[None], "(x-127.5)/128", CPU)).numpy() for crop in crops]
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (7, 4), (64, 1), (64, 4)])
def test_batch_and_workers_do_not_matter(tree, tmp_path, batch, workers):
    found = run(tree, tmp_path / "e", batch, workers)
    plain, mirrored = one_by_one(tree)
    assert np.abs(found.plain - plain).max() < 1e-5
    assert np.abs(found.mirrored - mirrored).max() < 1e-5
    if workers == 4:
        alone = run(tree, tmp_path / "other", batch, 1)
        assert np.array_equal(found.plain, alone.plain)
        assert np.array_equal(found.mirrored, alone.mirrored)
    assert not (tmp_path / "e.partial").exists()


@pytest.mark.parametrize("pixels", PIXELS)
def test_input_is_scaled_as_its_name_says(pixels):
    image = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    expected = eval(pixels, {"x": image.astype(np.float64)}).transpose(0, 3, 1, 2)
    found = both_views(image, pixels, CPU).numpy()
    assert np.abs(found[:2] - expected).max() < 1e-6
    assert np.array_equal(found[2:], found[:2, ..., ::-1])
    assert pixels in {preset.pixels for preset in PRESETS.values()}


class Deadly(torch.nn.Module):
    """Ends its process without a word in some batch."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.net, self.left = Projection(), batches

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.net(images)


class Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.images = Projection(), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        return self.net(images)


class Watching(torch.nn.Module):
    """Notes in which threads it runs, and with how many of PyTorch's; the first batch waits for the second."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.seen, self.met = Projection(), [], threading.Barrier(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append((threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()))
        if len(self.seen) <= 2:
            self.met.wait(60)
        return self.net(images)


def test_on_a_cpu_threads_embed_batches_side_by_side(tree, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        model = Watching()
        found = run(tree, tmp_path / "e", 4, 2, model)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert len(model.seen) == 12  # batches of 48 faces
    assert len({thread for thread, _, _ in model.seen}) > 1
    assert {(count, inference) for _, count, inference in model.seen} == {(1, True)}
    assert threading.get_ident() not in {thread for thread, _, _ in model.seen}
    plain, _ = one_by_one(tree)
    assert np.abs(found.plain - plain).max() < 1e-5


def test_a_fault_of_the_network_ends_the_run(tree, tmp_path):
    class Faulty(Counting):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            super().forward(images)
            raise ValueError("a fault of its own")

    model = Faulty()
    with pytest.raises(ValueError, match="a fault of its own"):
        run(tree, tmp_path / "e", 1, 2, model)
    # Only the batches asked for ahead were begun, not all 48.
    assert model.images <= 2 * 2 * max(2, torch.get_num_threads())
    assert not (tmp_path / "e").exists()


def test_a_killed_run_goes_on_where_it_was(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    folder = tmp_path / "e"
    torch.set_num_threads(1)
    killed = multiprocessing.get_context("fork").Process(target=run, args=(tree, folder, 1, 1, Deadly(21)))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not folder.exists()
    model = Counting()
    found = run(tree, folder, 1, 1, model)
    assert model.images == 2 * (48 - 16)
    whole = run(tree, tmp_path / "whole", 1, 1)
    assert np.array_equal(found.plain, whole.plain)
    assert np.array_equal(found.mirrored, whole.mirrored)


def test_a_finished_run_is_not_run_again(tree, tmp_path):
    run(tree, tmp_path / "e")
    model = Counting()
    run(tree, tmp_path / "e", model=model)
    assert model.images == 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model_sha256": "b" * 64}, "their model_sha256 is aaaaaaaaaaaaaaaa; expected bbbbbbbbbbbbbbbb"),
        ({"pixels": "(x-127.5)/127.5"}, "their pixels is"),
        ({"network": "mbf"}, "their network is None; expected mbf"),
        ({"faces_sha256": "c" * 64}, "their faces_sha256 is"),
    ],
)
def test_embeddings_of_something_else_are_refused(tree, tmp_path, other, message):
    run(tree, tmp_path / "e")
    with pytest.raises(EvaluationError, match=message):
        run(tree, tmp_path / "e", **other)


def test_a_stopped_run_is_not_continued_by_another_model(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 5)

    class Failing(torch.nn.Module):
        calls = 0

        def forward(self, images):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return images.flatten(1)[:, :8]

    with pytest.raises(KeyboardInterrupt):
        run(tree, tmp_path / "e", model=Failing())
    with pytest.raises(EvaluationError, match="e.partial: holds a stopped job whose model_sha256 is"):
        run(tree, tmp_path / "e", model_sha256="b" * 64)
    faces = read_faces(tree)
    with pytest.raises(EvaluationError, match="its extraction was stopped"):
        open_saved(tmp_path / "e", tree, faces)


def test_corrupt_images_are_counted_listed_and_limited(tree, tmp_path):
    whole = run(tree, tmp_path / "whole")
    data = (tree.images / "4.jpg").read_bytes()
    (tree.images / "4.jpg").write_bytes(data[: len(data) // 2])
    (tree.images / "9.jpg").write_bytes(b"")
    (tree.images / "11.jpg").write_bytes(b"no picture")
    message = (
        r"3 corrupt images \(4.jpg: the JPEG of \d+ bytes is truncated .*; 9.jpg: it has 0 bytes; 11.jpg: 10 bytes"
    )
    with pytest.raises(EvaluationError, match=message):
        run(tree, tmp_path / "e", batch=64, max_corrupt=2)
    found = run(tree, tmp_path / "e", batch=5, max_corrupt=3)
    assert list(found.corrupt) == [3, 8, 10]
    assert np.isnan(found.plain[[3, 8, 10]]).all()
    assert np.isnan(found.mirrored[[3, 8, 10]]).all()
    others = np.delete(np.arange(48), [3, 8, 10])
    assert np.array_equal(found.plain[others], whole.plain[others])
    with pytest.raises(EvaluationError, match="3 corrupt images"):
        run(tree, tmp_path / "e", batch=5, max_corrupt=2)


def test_points_that_fit_nowhere_count_as_corrupt(tree):
    face, fault = read_face(tree.images / "1.jpg", np.full((5, 2), 9, np.float32))
    assert face is None
    assert fault == "its five points are one point"


def test_absent_images_are_told_before_the_model_is_asked(tree, tmp_path):
    (tree.images / "2.jpg").unlink()
    model = Counting()
    with pytest.raises(DataError, match=r"1 of 48 listed images are absent \(2.jpg\)"):
        run(tree, tmp_path / "e", model=model)
    assert model.images == 0


class Bad(torch.nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, images):
        found = images.flatten(1)[:, :8].clone()
        found[0] = found[0] / 0 if self.what == "nan" else found[0]
        return {"two": (found, found), "few": found[:1], "flat": found[:, 0]}.get(self.what, found)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nan", r"1 of 5 embeddings are not finite \(first: 1.jpg\)"),
        ("two", r"model: gave tuple for 10 images"),
        ("few", r"model: gave \(1, 8\) for 10 images; expected a tensor \(10, D\)"),
        ("flat", r"model: gave \(10,\) for 10 images"),
    ],
)
def test_a_model_that_gives_no_embeddings_is_told(tree, tmp_path, what, message):
    with pytest.raises(EvaluationError, match=message):
        run(tree, tmp_path / "e", model=Bad(what))


def test_decoding_is_that_of_imread(tree):
    """Upstream reads files with imread; a picture of one channel is read as three equal ones."""
    grey = np.random.default_rng(0).integers(0, 256, (140, 140)).astype(np.uint8)
    cv2.imwrite(str(tree.images / "1.jpg"), grey)
    faces = read_faces(tree)
    face, _ = read_face(tree.images / "1.jpg", faces.points[0])
    assert np.array_equal(face[..., 0], face[..., 2])
