"""`cakd eval ijb` from model to report: the plain reference's numbers, whatever batch, workers and form of the model."""

import json
import re

import numpy as np
import onnx
import pytest
import torch

from insightface_cakd.evaluate.ijb.identification import FPIRS
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces
from tests.commands import cakd, refused
from tests.evaluate.ijb import plain
from tests.evaluate.ijb.trees import Projection, write_list, write_onnx, write_tree


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("ijb"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, more in (("free", {}), ("fixed", {"batch": 5}), ("small", {"size": 96})):
        width = Projection()
        if name == "small":
            width.layers[-2] = torch.nn.Linear(16 * 5 * 5, 32)
        write_onnx(folder / f"{name}.onnx", width, **more)
    two = torch.nn.Sequential(Projection())
    two.forward = lambda images: (two[0](images), two[0](images) * 2)
    write_onnx(folder / "two.onnx", two, outputs=2)
    (folder / "cut.onnx").write_bytes((folder / "free.onnx").read_bytes()[:900])
    return folder


def ijb(model, root, out, *more):
    ran = cakd("eval", "ijb", model, "--root", root, "--out", out, *more)
    assert ran.code == 0, ran.err
    return ran.out, json.loads((out / "report.json").read_text())


def test_numbers_are_the_plain_references(root, models, tmp_path):
    printed, report = ijb(models / "free.onnx", root, tmp_path, "--preset", "ijb_evals", "--mode", "all")
    tree = find_tree(root, "IJBC")
    faces = read_faces(tree)
    embeddings = [np.load(tmp_path / "embeddings" / f"{name}.npy") for name in ("plain", "mirrored")]
    pairs = np.loadtxt(tree.meta("template_pair_label.txt"), dtype=int)
    lists = [np.loadtxt(tree.meta(f"1N_{name}.csv"), str, skiprows=1, delimiter=",")[:, :2].astype(int).tolist()
             for name in ("gallery_G1", "gallery_G2", "probe_mixed")]  # fmt: skip
    assert [mode["mode"] for mode in report["modes"]][:2] == ["N1D1F1", "N1D1F0"]
    for mode in report["modes"]:
        n, d, f = (letter == "1" for letter in mode["mode"][1::2])
        rows = plain.weighted(*embeddings, faces.scores, n, d, f)
        features = plain.templates(rows, faces.templates, faces.medias)
        scores = [plain.cosine(features[a], features[b]) for a, b, _ in pairs.tolist()]
        assert np.abs(np.load(tmp_path / f"scores_{mode['mode']}.npy") - scores).max() < 1e-6
        points = plain.curve(np.load(tmp_path / f"scores_{mode['mode']}.npy"), pairs[:, 2])
        found = mode["verification"]
        assert list(found["tar_nearest"].values()) == pytest.approx(
            [plain.tar_nearest(points, far) for far in plain.FARS]
        )
        assert list(found["tar_strict"].values())[:-1] == [None] * 5
        for gallery, result in zip(lists[:2], mode["identification"]["galleries"], strict=True):
            expected = plain.identification(features, dict(gallery), dict(lists[2]), FPIRS)
            assert {k: result[f"rank_{k}"] * result["mated"] for k in (1, 5, 10)} == pytest.approx(expected["ranks"])
            assert list(result["tpir"].values()) == pytest.approx(expected["tpirs"])
    assert (tmp_path / "report.md").read_text() == printed
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")
    curve = np.load(tmp_path / "roc_N1D1F1.npz")
    assert curve["fpr"][[0, -1]].tolist() == curve["tpr"][[0, -1]].tolist() == [0, 1]


def test_it_writes_a_page_where_it_is_told_to(root, models, tmp_path):
    page = tmp_path / "page.html"
    _, report = ijb(models / "free.onnx", root, tmp_path / "out", "--protocol", "11", "--report", page)
    text = page.read_text()
    (mode,) = report["modes"]
    tar = 100 * mode["verification"]["tar_strict"]["0.1"]
    assert f'<p class="verdict">free on IJBC, N1D1F1: TAR {tar:.2f}\N{NO-BREAK SPACE}% at FAR 0.1.</p>' in text
    assert "Conventions of eval_ijbc" in text
    assert not (tmp_path / "out" / "report.html").exists()


def test_an_unsupported_rate_is_marked_and_has_no_strict_number(root, models, tmp_path):
    printed, report = ijb(models / "free.onnx", root, tmp_path)
    strict = next(line for line in printed.splitlines() if ", strict |" in line)
    assert [cell.strip() for cell in strict.split("|")[2:7]] == ["-"] * 5
    different = report["modes"][0]["verification"]["different"]
    assert re.search(rf"\* {different} different pairs support no FAR below", printed)
    assert report["modes"][0]["verification"]["unsupported"] == ["1e-06", "1e-05", "0.0001", "0.001", "0.01"]


def test_batch_workers_and_a_fixed_batch_give_the_same_report(root, models, tmp_path):
    expected, _ = ijb(models / "free.onnx", root, tmp_path / "a", "--batch", 7, "--workers", 1)
    for batch, workers in ((1, 1), (64, 1), (64, 4)):
        out = tmp_path / f"{batch}-{workers}"
        assert ijb(models / "free.onnx", root, out, "--batch", batch, "--workers", workers)[0] == expected
    fixed, _ = ijb(models / "fixed.onnx", root, tmp_path / "fixed", "--batch", 7)
    numbers = re.compile(r"\d+\.\d+")
    assert numbers.findall(fixed) == numbers.findall(expected)


def test_saved_embeddings_give_the_same_numbers_without_pictures(root, models, tmp_path):
    _, report = ijb(models / "free.onnx", root, tmp_path / "a", "--embeddings", tmp_path / "e")
    lists = tmp_path / "IJBC"
    (lists / "meta").mkdir(parents=True)
    for path in (root / "IJBC" / "meta").iterdir():
        (lists / "meta" / path.name).write_bytes(path.read_bytes())
    _, again = ijb(tmp_path / "e", lists, tmp_path / "b")
    assert again["modes"] == report["modes"]


def test_one_to_many_is_left_out_where_no_list_is_there_and_asked_for_must_be(root, models, tmp_path):
    root = write_tree(tmp_path / "tree")
    for name in ("gallery_G1", "gallery_G2", "probe_mixed"):
        (root / "IJBC" / "meta" / f"ijbc_1N_{name}.csv").unlink()
    _, report = ijb(models / "free.onnx", root, tmp_path / "out")
    assert "identification" not in report["modes"][0]
    command = ["eval", "ijb", models / "free.onnx", "--root", root, "--protocol", "1N"]
    refused(command, ".*ijbc_1N_gallery_G1.csv: cannot be read", tmp_path)


def test_weights_are_measured_with_their_network(root, tmp_path):
    from insightface_cakd.hosts.embedded.backbones import get_model

    torch.manual_seed(0)
    torch.save(get_model("cnn_tiny", fp16=False, num_features=64, dropout=0.0).state_dict(), tmp_path / "m.pt")
    _, report = ijb(tmp_path / "m.pt", root, tmp_path / "out", "--network", "cnn_tiny")
    assert report["modes"][0]["verification"]["auc"] > 0
    assert np.load(tmp_path / "out" / "embeddings" / "plain.npy").shape == (48, 64)


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("none.onnx", [], ".*none.onnx: does not exist"),
        ("two.onnx", [], ".*has 2 outputs"),
        ("cut.onnx", [], ".*cannot be read"),
        ("small.onnx", [], ".*takes images of 96x96"),
        ("free.onnx", ["--mode", "N1D2F1"], "mode N1D2F1: expected N, D and F with 0 or 1 each"),
        ("free.onnx", ["--target", "IJBB"], ".*holds neither IJBB/meta nor meta"),
    ],
)
def test_a_mistake_is_one_line(root, models, tmp_path, model, more, message):
    refused(["eval", "ijb", models / model, "--root", root, "--out", tmp_path / "out", *more], message, tmp_path)


def test_a_pair_list_of_one_kind_is_one_line(models, tmp_path):
    root = write_tree(tmp_path / "tree")
    write_list(root / "IJBC", "template_pair_label.txt", ["2 5 0", "5 8 0"])
    refused(
        ["eval", "ijb", models / "free.onnx", "--root", root, "--out", tmp_path / "out"],
        ".*0 same and 2 different",
        tmp_path,
    )


def test_a_model_that_scales_its_images_itself_is_not_scaled_twice(root, tmp_path):
    """InsightFace's rule: among the first nodes one is called Sub and one Mul; upstream's onnx_ijbc then feeds 0..255."""
    net = Projection()
    write_onnx(tmp_path / "outer.onnx", net)

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, images):
            return self.net((images - 127.5) * (1 / 127.5))

    path = write_onnx(tmp_path / "own.onnx", Own())
    graph = onnx.load(path)
    for node in graph.graph.node[:8]:
        node.name = f"{node.op_type}_{node.name}"
    onnx.save(graph, path)
    _, own = ijb(path, root, tmp_path / "own", "--preset", "onnx_ijbc")
    _, outer = ijb(tmp_path / "outer.onnx", root, tmp_path / "outer", "--preset", "onnx_ijbc")
    assert own["modes"][0]["verification"]["auc"] == pytest.approx(outer["modes"][0]["verification"]["auc"], abs=1e-6)
    command = ["eval", "ijb", path, "--root", root, "--out", tmp_path / "evals", "--preset", "ijb_evals"]
    refused(command, "own.onnx: subtracts the mean and divides itself, and ijb_evals would do so once more", tmp_path)
