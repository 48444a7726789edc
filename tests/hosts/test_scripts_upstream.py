"""The host's own scripts, unmodified, on small data; those that read IJB are in test_scripts_ijb.py."""

import re
from pathlib import Path

import pytest
import torch

from insightface_cakd.data.records import FaceRecords, open_records
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.scripts import known_scripts, run_script

pytestmark = pytest.mark.upstream


def test_the_scripts_of_the_checkout_are_known(arcface_torch: Path):
    known = set(known_scripts(find_checkout(arcface_torch)))
    wanted = {
        "eval_ijbc.py",
        "onnx_ijbc.py",
        "torch2onnx.py",
        "inference.py",
        "onnx_helper.py",
        "scripts/shuffle_rec.py",
    }
    assert wanted | {"../_evaluation_/ijb/ijb_evals.py", "flops.py", "train_v2.py"} <= known
    assert not known & {"losses.py", "dataset.py"}


def test_help_of_a_script_is_the_scripts_own(arcface_torch: Path, capsys):
    assert run_script("torch2onnx.py", ["--help"], arcface_torch) == 0
    assert "ArcFace PyTorch to onnx" in capsys.readouterr().out
    assert run_script("torch2onnx.py", [], arcface_torch) == 2


def test_weights_of_another_network_are_told_in_one_line(arcface_torch: Path, weights, tmp_path: Path):
    arguments = [str(weights), "--network", "r18", "--output", str(tmp_path / "a.onnx")]
    with pytest.raises(RunError, match=r"torch2onnx.py:15: RuntimeError: .*Missing key\(s\).* \.\.\.\. ") as caught:
        run_script("torch2onnx.py", arguments, arcface_torch)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.onnx"))


@pytest.fixture(scope="module")
def weights(arcface_torch: Path, tmp_path_factory) -> Path:
    """Random weights of a MobileFaceNet of the host."""
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    checkout = find_checkout(arcface_torch)
    with checkout.imported():
        torch.manual_seed(0)
        torch.save(checkout.load("backbones").get_model("mbf", fp16=False, num_features=512).state_dict(), path)
    return path


def test_inference_prints_the_embedding(arcface_torch: Path, weights: Path, capsys):
    assert run_script("inference.py", ["--network", "mbf", "--weight", str(weights)], arcface_torch) == 0
    numbers = re.findall(r"-?\d\.\d+e?[-+]?\d*", capsys.readouterr().out)
    assert len(numbers) == 512


def test_flops_counts_the_multiply_adds(arcface_torch: Path, capsys):
    assert run_script("flops.py", ["mbf"], arcface_torch) == 0
    out = capsys.readouterr().out
    assert float(re.search(r"([\d.]+) GFLOPs", out)[1]) == pytest.approx(0.44, abs=0.02)
    assert "2.060 Mparams" in out


def test_onnx_helper_checks_an_exported_model(arcface_torch: Path, weights: Path, tmp_path: Path, capsys):
    model = tmp_path / "model.onnx"
    assert run_script("torch2onnx.py", [str(weights), "--network", "mbf", "--output", str(model)], arcface_torch) == 0
    assert run_script("onnx_helper.py", [str(tmp_path), "--track", "unconstrained"], arcface_torch) == 0
    out = capsys.readouterr().out
    assert "input-shape: ['None', 3, 112, 112]" in out
    # The only rule that a slow machine may break.
    assert re.search(r"err: (None|max time cost exceed)", out)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_shuffle_rec_writes_every_record_once(arcface_torch: Path, face_set: Path, tmp_path: Path, capsys):
    (tmp_path / "faces").symlink_to(face_set)
    assert run_script("scripts/shuffle_rec.py", [f"{tmp_path / 'faces'}/"], arcface_torch) == 0
    before, after = FaceRecords(face_set), open_records(tmp_path / "shuffled_faces")
    records = [after.read(int(key)) for key in after.keys]
    assert [record.flag for record in records] == [0] * len(before)
    originals = [before.reader.read(int(key)) for key in before.keys]
    assert sorted((r.payload, r.labels[0]) for r in records) == sorted((r.payload, r.labels[0]) for r in originals)
    assert [r.id for r in records] != [r.id for r in originals]


def test_shuffle_rec_of_what_is_no_record_file_stops_and_leaves_no_file(arcface_torch: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"faces/train.rec: no such file"):
        run_script("scripts/shuffle_rec.py", [str(tmp_path / "faces")], arcface_torch)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
