"""Upstream's three scripts, unmodified, on the same tree and model: their tables digit by digit."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.scripts import run_script
from tests.commands import cakd
from tests.evaluate.ijb.trees import Projection, write_onnx, write_tree

pytestmark = pytest.mark.upstream
for package in ("pandas", "prettytable", "tabulate", "skimage", "sklearn"):
    pytest.importorskip(package, reason=f'{package} is missing: pip install "insightface-cakd[host]"')

EVALS = "../_evaluation_/ijb/ijb_evals.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Drawn: 160 images, 40 templates, 3000 pairs."""
    return write_tree(tmp_path_factory.mktemp("drawn"), images=160, templates=40, pairs=3000, seed=4)


@pytest.fixture(scope="module")
def toy(shared_data: Path, tmp_path_factory) -> Path:
    """Real faces, a copy: upstream writes beside what it reads."""
    folder = tmp_path_factory.mktemp("toy")
    shutil.copytree(shared_data / "ijb_toy" / "IJBC", folder / "IJBC", copy_function=shutil.copyfile)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_onnx(folder / "net.onnx", Projection())


def ours(model: Path, root: Path, preset: str, out: Path, *more: object) -> str:
    ran = cakd("eval", "ijb", model, "--root", root, "--preset", preset, "--out", out, *more)
    assert ran.code == 0, ran.err
    return ran.out


def cells(text: str, start: str) -> list[list[str]]:
    """The numbers of table rows that begin so, as they are written; strict rows left out."""
    lines = [line for line in text.splitlines() if line.startswith(start) and "strict" not in line]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")][1:] for line in lines]


@pytest.mark.parametrize("tree", ["root", "toy"])
def test_ijb_evals_one_to_one(arcface_torch, model, tree, request, tmp_path, capsys):
    root = request.getfixturevalue(tree)
    result = tmp_path / "net_IJBC_11.npz"
    assert (
        run_script(EVALS, ["-m", str(model), "-d", str(root), "-s", "IJBC", "-B", "-R", str(result)], arcface_torch)
        == 0
    )
    theirs = capsys.readouterr().out
    printed = ours(model, root, "ijb_evals", tmp_path / "out", "--mode", "all")
    assert len(cells(theirs, "| net_IJBC_11_")) == 8
    assert cells(printed, "| net_IJBC_11_") == cells(theirs, "| net_IJBC_11_")
    saved = np.load(result)
    for name, score in zip(saved["names"], saved["scores"], strict=True):
        found = np.load(tmp_path / "out" / f"scores_{name.split('_')[-1]}.npy")
        assert np.abs(found - score).max() < 1e-6


@pytest.mark.parametrize("tree", ["root", "toy"])
def test_ijb_evals_one_to_many(arcface_torch, model, tree, request, tmp_path, capsys):
    root = request.getfixturevalue(tree)
    args = ["-m", str(model), "-d", str(root), "-s", "IJBC", "-N", "-R", str(tmp_path / "n.npz")]
    assert run_script(EVALS, args, arcface_torch) == 0
    theirs = capsys.readouterr().out.partition(">>>> Gallery 1")[2]
    printed = ours(model, root, "ijb_evals", tmp_path / "out", "--protocol", "1N")
    found = [row[:5] for row in cells(printed.partition("| FPIR")[2], "| ")]
    assert found == [row for row in cells(theirs, "| ") if len(row) == 5][1:]
    tops = re.findall(r"top1: (\S+), top5: (\S+), top10: (\S+)", theirs)
    assert [tuple(row[:3]) for row in cells(printed, "| gallery ") + cells(printed, "| mean ")] == tops


@pytest.mark.parametrize("tree", ["root", "toy"])
def test_onnx_ijbc(arcface_torch, model, tree, request, tmp_path, capsys):
    root = request.getfixturevalue(tree)
    shutil.copyfile(model, tmp_path / "net.onnx")
    args = ["--model-root", str(tmp_path), "--image-path", str(root / "IJBC"), "--target", "IJBC"]
    assert run_script("onnx_ijbc.py", args, arcface_torch) == 0
    theirs = cells(capsys.readouterr().out, "| IJBC.npy-IJBC")
    printed = ours(model, root, "onnx_ijbc", tmp_path / "out")
    assert [row[:6] for row in cells(printed, "| net_IJBC_11_N1D1F1")] == theirs
    score = np.load(tmp_path / "IJBC_result" / "IJBC.npy")
    assert np.abs(np.load(tmp_path / "out" / "scores_N1D1F1.npy") - score).max() < 1e-6


def test_eval_ijbc(arcface_torch, tmp_path, capsys):
    root = write_tree(tmp_path / "tree", images=30, templates=12, pairs=400, seed=9)
    checkout = find_checkout(arcface_torch)
    with checkout.imported():
        torch.manual_seed(0)
        net = checkout.load("backbones").get_model("mbf", fp16=False, num_features=512)
        torch.save(net.state_dict(), tmp_path / "model.pt")
    args = ["--model-prefix", str(tmp_path / "model.pt"), "--network", "mbf", "--image-path", str(root / "IJBC")]
    args += ["--result-dir", str(tmp_path), "--job", "theirs", "--batch-size", "8"]
    assert run_script("eval_ijbc.py", args, arcface_torch) == 0
    theirs = cells(capsys.readouterr().out, "| ijbc-IJBC")
    printed = ours(tmp_path / "model.pt", root, "eval_ijbc", tmp_path / "out", "--network", "mbf", "--batch", "7")
    assert [row[:6] for row in cells(printed, f"| {tmp_path.name}_IJBC_11_N1D1F1")] == theirs
    score = np.load(tmp_path / "theirs" / "ijbc.npy")
    assert np.abs(np.load(tmp_path / "out" / "scores_N1D1F1.npy") - score).max() < 1e-6


def test_templates_are_upstreams_to_the_last_bit_and_scores_to_rounding(arcface_torch):
    """On one set of embeddings: float32 as eval_ijbc and ijb_evals have them, float64 as onnx_ijbc."""
    from benchmarks.ijb import upstream_script
    from insightface_cakd.evaluate.ijb.lists import Pairs
    from insightface_cakd.evaluate.ijb.presets import PRESETS
    from insightface_cakd.evaluate.ijb.scores import score_pairs
    from insightface_cakd.evaluate.ijb.store import Embeddings
    from insightface_cakd.evaluate.ijb.templates import Weighting, pool_templates

    random = np.random.default_rng(0)
    rows = random.standard_normal((3000, 48)).astype(np.float32)
    templates, medias = random.integers(0, 300, 3000) * 3, random.integers(0, 6, 3000)
    scores = random.uniform(0.3, 1, 3000).astype(np.float32)
    ids = np.unique(templates)
    first, second = ids[random.integers(0, len(ids), (2, 5000))]
    for name in ("eval_ijbc", "onnx_ijbc"):
        preset = PRESETS[name]
        weighting = Weighting(Embeddings(rows, None, {}), scores, preset.mode("N1D1F0"), preset)
        found = pool_templates(weighting, templates, medias, chunk=100)
        with upstream_script(arcface_torch, "onnx_ijbc.py") as script:
            given = rows.astype(preset.pooled_in) * scores[:, None]
            features, unique = script["image2template_feature"](given, templates, medias)
            expected = script["verification"](features, unique, first, second)
        assert np.array_equal(found.features, features)
        assert np.abs(score_pairs(found, Pairs(first, second, first == second)) - expected).max() < 1e-15
