"""An evaluation of IJB's kind on drawn embeddings; small here, of IJB-C's size by `python -m benchmarks ijb`."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ijb_draw import Size, draw, size_of, write_lists
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces, read_pairs
from tests.commands import benchmark, benchmark_refused
from tests.evaluate.ijb.trees import Projection, write_onnx, write_tree

SMALL = ("--images", 3000, "--templates", 1000, "--pairs", 60_000)


def test_drawn_sets_are_of_their_size():
    for among in (False, True):
        size = size_of(3000, 1000, 20_000, among)
        drawn = draw(size)
        assert drawn.features.shape == (3000, 512)
        assert len(np.unique(drawn.templates)) == 1000
        assert len(drawn.first) == len(drawn.second) == 20_000
        assert len(np.unique(np.stack([drawn.first, drawn.second]), axis=1).T) == 20_000
        assert drawn.same.sum() == size.same
        assert bool(np.intersect1d(drawn.first, drawn.second).size) == among
    assert size_of(469_375, 23_124, 15_658_489, False) == Size()


def test_the_lists_are_those_of_the_set(tmp_path):
    drawn = draw(size_of(3000, 1000, 20_000, False))
    write_lists(drawn, tmp_path)
    tree = find_tree(tmp_path, "IJBC")
    faces = read_faces(tree)
    assert np.array_equal(faces.templates, drawn.templates)
    assert np.array_equal(faces.medias, drawn.medias)
    pairs = read_pairs(tree, np.unique(faces.templates))
    for name in ("first", "second", "same"):
        assert np.array_equal(getattr(pairs, name), getattr(drawn, name))


@pytest.mark.slow
def test_ours_alone_has_a_line(monkeypatch):
    monkeypatch.delenv("ARCFACE_TORCH", raising=False)
    ran = benchmark("ijb", *SMALL)
    assert ran.code == 0, ran.err
    assert re.search(
        r"^ours +lists +[\d.]+ s +templates +[\d.]+ s +scores +[\d.]+ s +roc +[\d.]+ s +together", ran.out, re.MULTILINE
    )


@pytest.mark.slow
@pytest.mark.upstream
@pytest.mark.parametrize("more", [[], ["--among"]])
def test_upstreams_functions_give_the_same_scores(arcface_torch: Path, more):
    ran = benchmark("ijb", *SMALL, *more, "--host", arcface_torch)
    assert ran.code == 0, ran.err
    (difference,) = re.findall(r"largest difference of scores (\S+); TAR at FAR 1e-6 to 1e-1 equal", ran.out)
    assert float(difference) < 1e-14


def test_more_templates_than_images_are_refused(tmp_path):
    benchmark_refused(["ijb", "--images", 5, "--templates", 9], "ijb: 9 templates of 5 images", tmp_path)


@pytest.mark.parametrize("among", [[], ["--among"]])
def test_more_pairs_than_templates_make_are_refused(tmp_path, among):
    size = ["ijb", "--images", 50, "--templates", 20, "--pairs", 400, *among]
    benchmark_refused(size, "ijb: 400 pairs; 20 templates make", tmp_path)


def test_all_pairs_that_templates_make_may_be_drawn():
    size = Size(images=50, templates=20, pairs=51, same=17, galleries=3, width=8)
    drawn = draw(size)
    assert (size.candidates, size.impostors) == (51, 34)
    assert drawn.same.sum() == 17


@pytest.mark.parametrize("upstream", [False, pytest.param(True, marks=pytest.mark.upstream)])
def test_extraction_is_timed_beside_upstreams_loop(tmp_path, monkeypatch, upstream, request):
    if upstream:
        monkeypatch.setenv("ARCFACE_TORCH", str(request.getfixturevalue("arcface_torch")))
    else:
        monkeypatch.delenv("ARCFACE_TORCH", raising=False)
    root = write_tree(tmp_path / "tree", images=20)
    model = write_onnx(tmp_path / "net.onnx", Projection())
    ran = benchmark("ijb", "--model", model, "--root", root)
    assert ran.code == 0, ran.err
    names = re.findall(r"^(\w+) +[\d.]+ faces/s$", ran.out, re.MULTILINE)
    assert names == (["ours", "ijb_evals"] if upstream else ["ours"])
    assert bool(re.search(r"^faster by [\d.]+ x$", ran.out, re.MULTILINE)) == upstream


def test_a_model_without_a_tree_is_refused(tmp_path):
    benchmark_refused(["ijb", "--model", "m.onnx"], "ijb: --model and --root go together", tmp_path)
