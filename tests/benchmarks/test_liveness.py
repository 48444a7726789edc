"""`python -m benchmarks liveness`: descriptions, regression, tables."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import expit
from torch import nn

from benchmarks.colour_texture import AROUND, colour_texture, grey_pixels, uniform_patterns
from benchmarks.liveness import bench_liveness, logistic_regression
from insightface_cakd.data.faces.live import write_live_faces
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.liveness.scoring import Input
from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_live_faces(folder, people=6, pictures=2, seed=4)
    return folder


def by_hand(channel):
    """Return the histogram in loops: which patterns have at most two changes, in the order of their codes."""
    patterns = [[(code >> bit) & 1 for bit in range(8)] for code in range(256)]
    uniform = [code for code, bits in enumerate(patterns) if sum(bits[i] != bits[i - 1] for i in range(8)) <= 2]
    counts = np.zeros(59)
    for y in range(1, channel.shape[0] - 1):
        for x in range(1, channel.shape[1] - 1):
            code = sum(int(channel[y + dy, x + dx] >= channel[y, x]) << bit for bit, (dy, dx) in enumerate(AROUND))
            counts[uniform.index(code) if code in uniform else 58] += 1
    return counts / counts.sum()


def test_patterns_are_those_counted_in_loops():
    channel = np.random.default_rng(0).integers(0, 256, (14, 11)).astype(np.uint8)
    assert np.array_equal(uniform_patterns(channel), by_hand(channel))
    # A flat channel has the pattern of all bits alone, the last but one bin.
    assert uniform_patterns(np.full((9, 9), 7, np.uint8))[57] == 1


def test_descriptions_have_their_widths_and_are_shares():
    image = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    described = colour_texture(image)
    assert described.shape == (6 * (16 + 59),)
    assert described.sum() == pytest.approx(12)
    assert grey_pixels(np.full((112, 112, 3), 255, np.uint8)) == pytest.approx(np.ones(256))


def test_the_regression_is_where_the_gradient_vanishes():
    random = np.random.default_rng(2)
    rows, live = random.normal(size=(80, 3)), random.integers(0, 2, 80)
    weights = logistic_regression(rows, live, decay=0.1)
    wrong = expit(rows @ weights[:-1] + weights[-1]) - live
    assert rows.T @ wrong / 80 + 0.1 * weights[:-1] == pytest.approx(np.zeros(3), abs=1e-4)
    assert wrong.mean() == pytest.approx(0, abs=1e-4)


def test_each_domain_is_left_out_and_models_stand_beside_the_floors(faces):
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    tables = bench_liveness(faces, (0, 1), {"mine": (model, Input(1))}).split("\n\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tables[0].splitlines()]
    assert rows[0] == ["AUC", "evening", "office", "window", "mean"]
    named = {row[0]: row[1:] for row in rows[2:]}
    assert named["majority"] == ["0.500"] * 4
    assert len(named["mine"]) == 4
    assert all("(" in cell for cell in named["colour histograms + LBP, linear"])
    assert float(named["colour histograms + LBP, linear"][3].split()[0]) > 0.6
    assert [table.split("|")[1].strip() for table in tables] == ["AUC", "EER", "HTER"]


@pytest.fixture(scope="module")
def runs(faces, tmp_path_factory):
    """Runs of one name, two seeds a domain, each of which left its domain out."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "r.yaml").write_text("task: liveness\n")
    short = ("batch_size=24", "num_epoch=1", "warmup_epoch=0", "num_workers=0", "device=cpu", "embedding_size=64")
    for domain in ("evening", "office", "window"):
        for seed in (1, 2):
            settings = (*short, f"seed={seed}", f"val_targets=['{domain}']")
            out = folder / "runs" / "alone" / domain / str(seed)
            train(Job("faces_cnn_tiny", str(folder / "r.yaml"), data=faces, settings=settings, output=out))
    return folder / "runs"


def test_runs_stand_beside_the_floors_with_the_spread_of_their_seeds(faces, runs):
    rows = bench_liveness(faces, (0,), {}, runs).split("\n\n")[0].splitlines()
    (line,) = [line for line in rows if "alone" in line]
    assert line.count("(") == 4, "each domain and the mean"


def test_a_missing_run_is_refused(faces, runs, tmp_path):
    shutil.copytree(runs / "alone", tmp_path / "alone")
    shutil.rmtree(tmp_path / "alone" / "window" / "2")
    with pytest.raises(
        EvaluationError, match=r"window: finished runs \['1'\]; expected those of evening, \['1', '2'\]"
    ):
        bench_liveness(faces, (0,), {}, tmp_path)


@pytest.mark.slow
def test_the_command_takes_an_onnx(faces, tmp_path):
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    export_onnx(model, tmp_path / "mine.onnx", {})
    command = [sys.executable, "-m", "benchmarks", "liveness", faces, "--seeds", "0", "--model", tmp_path / "mine.onnx"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("mine.onnx") == 3
