"""The second patch: the scripts of a patched copy of arcface_torch, started by plain Python, run on today's stack."""

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.patch_series import read_series
from insightface_cakd.hosts.patching import apply, revert
from tests.patched_runs import patched_copy, run

pytestmark = pytest.mark.upstream


@pytest.fixture(scope="module")
def patched(arcface_torch, tmp_path_factory):
    """A copy of the checkout with both patches in; not to be changed but for configs."""
    return patched_copy(arcface_torch, tmp_path_factory.mktemp("patched") / "arcface_torch")


def started(folder: Path, *arguments: object) -> str:
    """Run a script to its end; return what it printed."""
    ended = run(folder, *arguments)
    assert ended.returncode == 0, ended.stdout[-1000:] + ended.stderr[-3000:]
    return ended.stdout


def test_the_pinned_files_come_back_byte_for_byte(arcface_torch, tmp_path):
    folder = tmp_path / "arcface_torch"
    shutil.copytree(arcface_torch, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(apply(folder)) == len(read_series())
    assert {path for path, data in before.items() if path.read_bytes() != data} == {
        folder / file for patch in read_series() for file in patch.hunks
    }
    assert len(revert(folder)) == len(read_series())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of a MobileFaceNet, as if they had been saved on a GPU."""
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as saving:
        saving.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        torch.save(get_model("mbf", num_features=512).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def ijb(face_set, tmp_path_factory):
    """Six faces as IJB-C has them."""
    folder = tmp_path_factory.mktemp("ijb")
    images, meta = folder / "loose_crop", folder / "meta"
    images.mkdir()
    meta.mkdir()
    records = FaceRecords(face_set).reader
    for number in range(1, 7):
        (images / f"{number}.jpg").write_bytes(records.read(number).payload)
    points = "38 52 74 52 56 72 42 92 71 92 0.9"
    (meta / "ijbc_name_5pts_score.txt").write_text("".join(f"{n}.jpg {points}\n" for n in range(1, 7)))
    (meta / "ijbc_face_tid_mid.txt").write_text("".join(f"{n}.jpg {n} {n}\n" for n in range(1, 7)))
    (meta / "ijbc_template_pair_label.txt").write_text("1 2 1\n3 4 1\n5 6 1\n1 3 0\n2 5 0\n")
    return folder


def test_the_scripts_run_by_themselves(patched, weights, ijb, tmp_path):
    for name in ("pandas", "prettytable", "skimage", "sklearn", "matplotlib"):
        pytest.importorskip(name, reason=f"the IJB scripts need {name}")
    assert "2.060 Mparams" in started(patched, "flops.py", "mbf")
    assert started(patched, "inference.py", "--network", "mbf", "--weight", weights).startswith("[[")
    paths = "--image-path", ijb, "--result-dir", tmp_path
    printed = started(patched, "eval_ijbc.py", "--model-prefix", weights, "--network", "mbf", *paths, "--batch-size", 4)
    assert "ijbc-IJBC" in printed
    onnx = tmp_path / "onnx" / "model.onnx"
    onnx.parent.mkdir()
    started(patched, "torch2onnx.py", weights, "--network", "mbf", "--output", onnx)
    assert [path.name for path in onnx.parent.iterdir()] == ["model.onnx"]
    assert "IJBC.npy-IJBC" in started(patched, "onnx_ijbc.py", "--model-root", onnx.parent, "--image-path", ijb)
    score, other = np.load(tmp_path / "insightface" / "ijbc.npy"), np.load(onnx.parent / "IJBC_result" / "IJBC.npy")
    assert np.abs(score - other).max() < 1e-5


def test_shuffle_rec_keeps_every_image_and_label(patched, face_set, tmp_path):
    shutil.copytree(face_set, tmp_path / "faces")
    ended = run(patched, "scripts/shuffle_rec.py", tmp_path / "faces")
    assert ended.returncode == 0, ended.stderr
    before, after = FaceRecords(face_set), FaceRecords(tmp_path / "shuffled_faces")
    assert (after.style, len(after)) == ("im2rec", len(before))
    content = [
        [(record.payload, record.labels[0]) for record in map(faces.reader.read, map(int, faces.keys))]
        for faces in (before, after)
    ]
    assert sorted(content[0]) == sorted(content[1])
    assert content[0] != content[1], "shuffled"


def test_a_verification_set_gives_the_same_pixels(patched, face_set):
    code = f"""
from eval.verification import load_bin
(plain, flipped), same = load_bin({str(face_set / "dev.bin")!r}, (112, 112))
print(plain.shape, plain.sum().item() == flipped.sum().item(), sum(same))"""
    expected = load_bin(face_set / "dev.bin")
    assert started(patched, "-c", code).endswith(
        f"torch.Size([{len(expected.images)}, 3, 112, 112]) True {expected.same.sum()}\n"
    )


def test_two_single_processes_run_beside_each_other(patched):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 12584))
        taken.listen()
        ended = run(patched, "-c", "import train_v2; print(train_v2.distributed.get_world_size())")
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr


def test_the_fixes_end_with_the_process_and_are_applied_once(patched):
    code = """
import torch.distributed as dist
before = dist.init_process_group
import atexit
atexit.register(lambda: print(dist.init_process_group is before))
import eval.verification
once = dist.init_process_group
import torch2onnx, inference
print(once is dist.init_process_group, once is before)"""
    assert started(patched, "-c", code).endswith("True False\nTrue\n")
