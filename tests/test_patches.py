"""What each patch is for, on a patched copy of arcface_torch, without compat fixes: plain Python runs it."""

import re
import shutil
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.images import encode_png
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.patch_series import read_series
from insightface_cakd.hosts.patching import apply, revert
from tests.patched_runs import patched_copy, run

pytestmark = pytest.mark.upstream


@pytest.fixture(scope="module")
def patched(arcface_torch, tmp_path_factory):
    """A copy of the checkout with every patch in; not to be changed but for configs."""
    return patched_copy(arcface_torch, tmp_path_factory.mktemp("patched") / "arcface_torch")


@pytest.fixture
def load(patched):
    """Import modules of the patched copy, and forget them afterwards."""
    checkout = find_checkout(patched)
    with checkout.imported():
        yield checkout.load


def pixels(rgb):
    return (torch.from_numpy(rgb).permute(2, 0, 1).float() / 255 - 0.5) / 0.5


def test_the_pinned_files_come_back_byte_for_byte(arcface_torch, tmp_path):
    folder = tmp_path / "arcface_torch"
    shutil.copytree(arcface_torch, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(apply(folder)) == len(read_series())
    assert {path for path, data in before.items() if path.read_bytes() != data} == {
        folder / file for patch in read_series() for file in patch.files
    }
    assert len(revert(folder)) == len(read_series())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_record_files_give_the_same_faces_and_labels(load, face_set):
    faces = FaceRecords(face_set)
    dataset = load("dataset").MXFaceDataset(str(face_set), 0)
    assert len(dataset) == len(faces) == 48
    for index in range(0, 48, 5):
        image, label = dataset[index]
        plain = pixels(faces[index][0])
        assert (int(label), label.dtype) == (faces[index][1], torch.int64)
        assert any(torch.allclose(image, candidate, atol=1e-6) for candidate in (plain, plain.flip(2)))


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


def test_verification_sets_give_the_same_pixels(load, face_set):
    (plain, flipped), same = load("eval.verification").load_bin(str(face_set / "dev.bin"), (112, 112))
    expected = load_bin(face_set / "dev.bin")
    images = torch.from_numpy(expected.images).permute(0, 3, 1, 2).float()
    assert torch.equal(plain, images)
    assert torch.equal(flipped, images.flip(3))
    assert list(same) == expected.same.tolist()


def test_no_removed_numpy_name_is_left(load, patched, tmp_path):
    code = [line.partition("#")[0] for path in patched.rglob("*.py") for line in path.read_text().splitlines()]
    assert not [line for line in code if re.search(r"\bnp\.(int|float|bool|object)\b", line)]
    (tmp_path / "pairs.txt").write_text("3 7 1\n3 9 0\n")
    for name in ("pandas", "prettytable", "skimage"):
        pytest.importorskip(name, reason=f"onnx_ijbc.py needs {name}")
    first, second, label = load("onnx_ijbc").read_template_pair_list(str(tmp_path / "pairs.txt"))
    assert (first.tolist(), second.tolist(), label.tolist()) == ([3, 3], [7, 9], [1, 0])


def test_the_learning_rate_falls_as_before(load):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = load("lr_scheduler").PolynomialLRWarmup(optimizer, warmup_iters=2, total_iters=6)
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.4, 0.2, 0.4, 0.3, 0.2, 0.1, 0.0])


def test_the_vit_is_built_without_a_warning(load):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load("backbones").get_model("vit_t", num_features=512).training


def test_verification_finds_a_threshold_where_rates_repeat(load):
    """Pairs at squared distance 0.5 (same) and 1.5 (not): the false accept rate of a fold steps from 0 to 1 between 1 and 2."""
    verification = load("eval.verification")
    far_apart = np.sqrt(np.array([[0.5], [1.5], [0.5], [1.5]]))
    same = np.array([True, False, True, False])
    value, spread, far = verification.calculate_val(
        np.arange(4.0), np.zeros((4, 1)), far_apart, same, 0.5, nrof_folds=2
    )
    # Rates 0, 0, 1, 1 at thresholds 0 to 3: first reached at 0 and 2, so rate 0.5 lies at threshold 1.
    assert (value, spread, far) == (1.0, 0.0, 0.0)


def test_mixed_precision_gives_no_deprecation_warning(load):
    build = load("backbones").get_model
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        for name in ("mbf", "r18", "vit_t"):
            build(name, fp16=True, num_features=512).eval()(torch.zeros(1, 3, 112, 112))


@pytest.mark.timeout(60)
def test_a_broken_record_ends_the_run(load, face_set, tmp_path):
    shutil.copytree(face_set, tmp_path / "faces")
    broken = FaceRecords(face_set).reader
    with (tmp_path / "faces" / "train.rec").open("r+b") as file:
        file.seek(int(broken.offsets[5]) + 8 + 24)
        file.write(b"no image")
    loader = load("dataset").get_dataloader(str(tmp_path / "faces"), 0, 4, num_workers=0)
    with pytest.raises(DataError, match=r"train\.rec: record \d+ at offset \d+.*not an image OpenCV reads"):
        list(loader)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_batches_come_without_cuda(load, face_set):
    loader = load("dataset").get_dataloader(str(face_set), 0, 5, num_workers=2)
    batches = list(loader)
    assert len(batches) == 48 // 5
    assert {(tuple(images.shape), images.dtype, str(images.device)) for images, _ in batches} == {
        ((5, 3, 112, 112), torch.float32, "cpu")
    }
    assert len({int(label) for _, labels in batches for label in labels}) == 12


def test_the_head_samples_the_same_rows_without_cuda(load):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        margin = load("losses").CombinedMarginLoss(64, 1.0, 0.5, 0.0, 0)
        head = load("partial_fc_v2").PartialFC_V2(margin, 8, 20, 0.3, False)
        torch.manual_seed(4)
        loss = head(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 3, 17, 5]))
    finally:
        dist.destroy_process_group()
    torch.manual_seed(4)
    drawn = torch.rand(20)
    drawn[[3, 5, 17]] = 2.0
    assert head.weight_index.tolist() == sorted(drawn.topk(6).indices.tolist())
    assert torch.isfinite(loss)


def test_two_single_processes_run_beside_each_other(patched):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 12584))
        taken.listen()
        ended = run(patched, "-c", "import train_v2; print(train_v2.distributed.get_world_size())")
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr


def test_weights_saved_on_a_gpu_load_without_one(load, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as saving:
        saving.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        torch.save(get_model("mbf", num_features=512).state_dict(), tmp_path / "model.pt")
    load("inference").inference(str(tmp_path / "model.pt"), "mbf", None)
    assert capsys.readouterr().out.startswith("[[")


def test_the_exported_model_takes_any_batch(load, tmp_path):
    session_of = pytest.importorskip("onnxruntime").InferenceSession
    network = get_model("mbf", num_features=512).eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    out = tmp_path / "model.onnx"
    load("torch2onnx").convert_onnx(
        load("backbones").get_model("mbf", num_features=512), str(tmp_path / "model.pt"), str(out)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.pt"]
    session = session_of(str(out), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3):
        images = torch.rand(batch, 3, 112, 112) * 2 - 1
        (found,) = session.run(None, {"data": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), network(images).detach(), rtol=1e-3, atol=1e-5)


def test_eval_ijbc_runs(patched, face_set, tmp_path):
    for name in ("pandas", "prettytable", "skimage", "sklearn", "matplotlib"):
        pytest.importorskip(name, reason=f"eval_ijbc.py needs {name}")
    images, meta = tmp_path / "loose_crop", tmp_path / "meta"
    images.mkdir()
    meta.mkdir()
    records = FaceRecords(face_set).reader
    for number in range(1, 7):
        (images / f"{number}.jpg").write_bytes(records.read(number).payload)
    points = "38 52 74 52 56 72 42 92 71 92 0.9"
    (meta / "ijbc_name_5pts_score.txt").write_text("".join(f"{n}.jpg {points}\n" for n in range(1, 7)))
    (meta / "ijbc_face_tid_mid.txt").write_text("".join(f"{n}.jpg {n} {n}\n" for n in range(1, 7)))
    (meta / "ijbc_template_pair_label.txt").write_text("1 2 1\n3 4 1\n5 6 1\n1 3 0\n2 5 0\n")
    torch.save(get_model("mbf", num_features=512).state_dict(), tmp_path / "model.pt")
    ended = run(
        patched, "eval_ijbc.py", "--model-prefix", tmp_path / "model.pt", "--network", "mbf",
        "--image-path", tmp_path, "--result-dir", tmp_path, "--batch-size", 4,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "ijbc-IJBC" in ended.stdout
    assert np.isfinite(np.load(tmp_path / "insightface" / "ijbc.npy")).all()
    assert Path(tmp_path, "insightface", "ijbc.pdf").is_file()


def test_faces_are_aligned_without_a_warning(load, face_set, tmp_path):
    for name in ("pandas", "prettytable", "skimage"):
        pytest.importorskip(name, reason=f"onnx_ijbc.py needs {name}")
    rgb = FaceRecords(face_set)[0][0]
    (tmp_path / "1.png").write_bytes(encode_png(rgb))
    script = load("onnx_ijbc")
    points = " ".join(f"{value}" for value in script.SRC.ravel())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = script.AlignedDataSet(str(tmp_path), [f"1.png {points} 0.9"])[0]
    # The points are where they should be, so nothing moves.
    assert torch.equal(both, torch.from_numpy(np.stack([rgb, rgb[:, ::-1]])).permute(0, 3, 1, 2).float())


def test_the_callbacks_compile_without_a_warning(patched):
    path = patched / "utils" / "utils_callbacks.py"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile(path.read_text(), str(path), "exec")
