"""The toy IJB-C tree of real faces: the tables and scores that upstream gave there, digit by digit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.commands import cakd

MARKED = re.compile(r"[*|]")


@pytest.fixture(scope="module")
def measured(shared_data: Path, tmp_path_factory) -> tuple[Path, str]:
    """The floor model in all eight modes: folder and what was printed."""
    out = tmp_path_factory.mktemp("toy") / "floor"
    model, root = shared_data / "models" / "pixels_floor.onnx", shared_data / "ijb_toy"
    ran = cakd("eval", "ijb", model, "--root", root, "--preset", "ijb_evals", "--mode", "all", "--out", out)
    assert ran.code == 0, ran.err
    return out, ran.out


def cells(text: str, start: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(start) and "strict" not in line]
    return [MARKED.sub(" ", line).split() for line in lines]


def test_all_eight_rows_are_the_reference_digit_by_digit(shared_data, measured):
    reference = (shared_data / "ijb_toy" / "README.md").read_text()
    expected = cells(reference, "| pixels_floor_IJBC_11_")
    assert len(expected) == 8
    assert cells(measured[1], "| pixels_floor_IJBC_11_") == expected


def test_scores_are_the_reference(shared_data, measured):
    reference = np.load(shared_data / "ijb_toy" / "reference_scores.npz")
    for letters in ("N1D1F1", "N1D1F0", "N1D0F1", "N1D0F0", "N0D1F1", "N0D1F0", "N0D0F1", "N0D0F0"):
        scores = np.load(measured[0] / f"scores_{letters}.npy")
        assert np.abs(scores - reference[f"pixels_floor_{letters}"]).max() < 1e-6


def test_identification_is_the_reference_digit_by_digit(shared_data, measured):
    reference = (shared_data / "ijb_toy" / "README.md").read_text()
    block = reference.partition("### pixels_floor.onnx, 1:N (N0D1F1)")[2].partition("### ")[0]
    ours = measured[1].partition("| 1:N N0D1F1")[2].partition("| 1:N N0D1F0")[0]
    expected = [row for row in cells(block, "| ") if row[0] != "far"]
    found = [row[:6] for row in cells(ours, "| ") if row[0][0].isdigit()]
    assert len(expected) == 5
    assert found == expected
    tops = re.findall(r"top1: (\S+), top5: (\S+), top10: (\S+)", block)
    ranks = [tuple(row[-6:-3]) for row in cells(ours, "| gallery ")]
    ranks += [tuple(row[1:4]) for row in cells(ours, "| mean ")]
    assert ranks == tops


def test_saved_embeddings_are_read_in_another_preset(shared_data, measured, tmp_path):
    """onnx_ijbc's N1D1F1 is ijb_evals' N0D1F1; the saved input scale is what it was."""
    ran = cakd(
        "eval",
        "ijb",
        measured[0] / "embeddings",
        "--root",
        shared_data / "ijb_toy",
        "--preset",
        "onnx_ijbc",
        "--out",
        tmp_path,
    )
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "report.json").read_text())["modes"][0]["verification"]["tar_nearest"]
    modes = json.loads((measured[0] / "report.json").read_text())["modes"]
    (expected,) = [mode["verification"]["tar_nearest"] for mode in modes if mode["mode"] == "N0D1F1"]
    assert found == pytest.approx(expected, abs=1e-12)
    assert "Conventions of onnx_ijbc: input (x-127.5)/128 (as saved)" in ran.out
