"""The host's IJB scripts, unmodified, on a toy tree: the numbers are the reference's."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.scripts import run_script

pytestmark = pytest.mark.upstream
for package in ("pandas", "prettytable", "tabulate", "skimage", "sklearn"):
    pytest.importorskip(package, reason=f'{package} is missing: pip install "insightface-cakd[host]"')

IJB_EVALS = "../_evaluation_/ijb/ijb_evals.py"


@pytest.fixture(scope="module")
def toy(shared_data: Path, tmp_path_factory) -> Path:
    """A copy: the scripts write next to what they read."""
    folder = tmp_path_factory.mktemp("ijb")
    for source in (shared_data / "ijb_toy").rglob("*"):
        target = folder / source.relative_to(shared_data / "ijb_toy")
        if source.is_dir():
            target.mkdir(parents=True)
        else:
            shutil.copyfile(source, target)
    return folder


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> str:
    return (shared_data / "ijb_toy" / "README.md").read_text()


def numbers(line: str) -> list[float]:
    return [float(text) for text in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", line)]


def rows(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_ijb_evals_gives_all_eight_rows_and_scores_of_the_reference(
    arcface_torch: Path, shared_data: Path, toy: Path, reference: str, tmp_path: Path, capsys
):
    model, result = shared_data / "models" / "pixels_floor.onnx", tmp_path / "pixels_floor_IJBC_11.npz"
    args = ["-m", str(model), "-d", str(toy), "-s", "IJBC", "-B", "-R", str(result)]
    assert run_script(IJB_EVALS, args, arcface_torch) == 0
    printed = rows(capsys.readouterr().out, "| pixels_floor_IJBC_11_")
    expected = rows(reference, "| pixels_floor_IJBC_11_")
    assert len(printed) == len(expected) == 8
    for ours, theirs in zip(printed, expected, strict=True):
        assert numbers(ours) == pytest.approx(numbers(theirs), abs=2e-6)
    saved = np.load(result)
    scores = np.load(shared_data / "ijb_toy" / "reference_scores.npz")
    for name, score in zip(saved["names"], saved["scores"], strict=True):
        assert np.abs(score - scores[f"pixels_floor_{name.split('_')[-1]}"]).max() < 1e-5


def test_ijb_evals_gives_the_reference_of_one_to_many(
    arcface_torch: Path, shared_data: Path, toy: Path, reference: str, tmp_path: Path, capsys
):
    model = shared_data / "models" / "pixels_floor.onnx"
    args = ["-m", str(model), "-d", str(toy), "-s", "IJBC", "-N", "-R", str(tmp_path / "floor.npz")]
    assert run_script(IJB_EVALS, args, arcface_torch) == 0
    printed = capsys.readouterr().out
    block = reference.partition("### pixels_floor.onnx, 1:N (N0D1F1)")[2].partition("### ")[0]
    for start in ("query_feats", "pos_sims", "top1", "[Mean]", "| "):
        expected = rows(block, start)
        found = rows(printed.partition(">>>> Gallery 1")[2], start)
        assert len(expected) == len(found) > 0
        for ours, theirs in zip(found, expected, strict=True):
            assert numbers(ours) == pytest.approx(numbers(theirs), abs=2e-6)


@pytest.mark.slow
def test_onnx_ijbc_gives_the_table_and_nearly_the_scores_of_the_reference(
    arcface_torch: Path, shared_data: Path, toy: Path, tmp_path: Path, capsys
):
    """Its input is (x - 127.5) / 127.5, that of the reference / 128: the scores differ by less than 0.002."""
    shutil.copyfile(shared_data / "models" / "edgeface_xs.onnx", tmp_path / "edgeface_xs.onnx")
    args = ["--model-root", str(tmp_path), "--image-path", str(toy / "IJBC"), "--target", "IJBC"]
    assert run_script("onnx_ijbc.py", args, arcface_torch) == 0
    (row,) = rows(capsys.readouterr().out, "| IJBC.npy-IJBC")
    assert numbers(row) == [98.94, 98.94, 99.47, 100, 100, 100]  # the reference's N0D1F1, in percent
    score = np.load(tmp_path / "IJBC_result" / "IJBC.npy")
    expected = np.load(shared_data / "ijb_toy" / "reference_scores.npz")["edgeface_xs_N0D1F1"]
    assert np.abs(score - expected).max() < 0.002


@pytest.fixture(scope="module")
def small(toy: Path, tmp_path_factory) -> Path:
    """The templates of the first six same pairs, with all pairs among them."""
    folder, meta = tmp_path_factory.mktemp("small"), toy / "IJBC" / "meta"
    (folder / "meta").mkdir()
    (folder / "loose_crop").symlink_to(toy / "IJBC" / "loose_crop")
    pairs = [line.split() for line in (meta / "ijbc_template_pair_label.txt").read_text().splitlines()]
    kept = {template for pair in [pair for pair in pairs if pair[2] == "1"][:6] for template in pair[:2]}
    faces = [line.split() for line in (meta / "ijbc_face_tid_mid.txt").read_text().splitlines()]
    points = [line.split() for line in (meta / "ijbc_name_5pts_score.txt").read_text().splitlines()]
    tables = {
        "ijbc_template_pair_label.txt": [pair for pair in pairs if kept.issuperset(pair[:2])],
        "ijbc_face_tid_mid.txt": [face for face in faces if face[1] in kept],
        "ijbc_name_5pts_score.txt": [row for row, face in zip(points, faces, strict=True) if face[1] in kept],
    }
    for name, table in tables.items():
        (folder / "meta" / name).write_text("".join(" ".join(row) + "\n" for row in table))
    return folder


def test_eval_ijbc_of_weights_equals_onnx_ijbc_of_their_export(
    arcface_torch: Path, small: Path, tmp_path: Path, capsys
):
    checkout = find_checkout(arcface_torch)
    with checkout.imported():
        torch.manual_seed(0)
        net = checkout.load("backbones").get_model("mbf", fp16=False, num_features=512)
        torch.save(net.state_dict(), tmp_path / "model.pt")
    args = ["--model-prefix", str(tmp_path / "model.pt"), "--network", "mbf", "--image-path", str(small)]
    args += ["--result-dir", str(tmp_path), "--job", "weights", "--batch-size", "8"]
    assert run_script("eval_ijbc.py", args, arcface_torch) == 0
    (printed,) = rows(capsys.readouterr().out, "| ijbc-IJBC")
    onnx = tmp_path / "onnx" / "model.onnx"
    onnx.parent.mkdir()
    export = [str(tmp_path / "model.pt"), "--network", "mbf", "--output", str(onnx)]
    assert run_script("torch2onnx.py", export, arcface_torch) == 0
    args = ["--model-root", str(onnx.parent), "--image-path", str(small)]
    assert run_script("onnx_ijbc.py", args, arcface_torch) == 0
    (again,) = rows(capsys.readouterr().out, "| IJBC.npy-IJBC")
    assert numbers(printed) == numbers(again)
    assert (tmp_path / "weights" / "ijbc.pdf").stat().st_size > 0
    score, other = np.load(tmp_path / "weights" / "ijbc.npy"), np.load(onnx.parent / "IJBC_result" / "IJBC.npy")
    assert np.abs(score - other).max() < 1e-5
