"""The check of an exported file: what passes, and what each kind of broken file is told."""

import dataclasses

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from insightface_cakd.errors import ExportError
from insightface_cakd.export.check import check_onnx
from insightface_cakd.export.onnx import EXPORTERS, export_onnx
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.export.networks import WIDTH, settle, trained
from tests.networks.onnx_models import batch_inside, channel_means
from tests.teachers.faces import ChannelMeans


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_an_exported_network_passes(tmp_path, exporter):
    export_onnx(trained(), tmp_path / "student.onnx", {}, exporter)
    report = check_onnx(tmp_path / "student.onnx", trained())
    assert list(report.cosine) == [1, 2, 32]
    assert min(report.cosine.values()) > 0.999999
    assert report.largest_difference < 1e-4
    assert (report.width, report.size) == (WIDTH, (tmp_path / "student.onnx").stat().st_size)
    assert report.opset == {"legacy": 13, "dynamo": 18}[exporter]


@pytest.mark.parametrize(
    ("name", "exporter"),
    [
        ("cnn_tiny", "legacy"),
        ("vit_tiny", "legacy"),
        ("mbf", "legacy"),
        *(pytest.param(name, "legacy", marks=pytest.mark.slow) for name in ("r18", "vit_t")),
        *(
            pytest.param(name, "dynamo", marks=pytest.mark.slow)
            for name in ("cnn_tiny", "vit_tiny", "mbf", "r18", "vit_t")
        ),
    ],
)
def test_networks_of_the_host_pass(tmp_path, name, exporter):
    torch.manual_seed(0)
    network = settle(get_model(name, num_features=64))
    export_onnx(network, tmp_path / "student.onnx", {}, exporter)
    report = check_onnx(tmp_path / "student.onnx", network)
    assert report.largest_difference < 1e-4
    assert network.training


def test_the_summary_is_one_line(tmp_path):
    channel_means(tmp_path / "means.onnx")
    report = dataclasses.replace(check_onnx(tmp_path / "means.onnx", ChannelMeans()), size=1_230_000)
    assert report.summary().startswith(
        f"{tmp_path / 'means.onnx'}: 1.23 MB, 3-d, opset 13; equal to torch at batch 1, 2, 32"
    )
    assert "\n" not in report.summary()


def test_a_network_on_the_way_of_training_is_left_as_it_is(tmp_path):
    network = trained().train()
    network.bn.eval()
    export_onnx(network, tmp_path / "student.onnx", {})
    check_onnx(tmp_path / "student.onnx", network)
    assert (network.training, network.bn.training) == (True, False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 1}, r"takes \[1, 3, 112, 112\]; expected \['batch', 3, 112, 112\], the batch free"),
        ({"side": 128}, r"takes \['batch', 3, 128, 128\]; expected"),
        ({"outputs": 2}, r"1 inputs and 2 outputs \(input FLOAT, embedding FLOAT, more1 FLOAT\); expected one float32"),
        ({"kind": TensorProto.FLOAT16}, r"input FLOAT16, embedding FLOAT.; expected one float32 input"),
        (
            {"first": "normalise"},
            "first 8 nodes are called Sub_normalise, Mul_normalise, mean; InsightFace takes these",
        ),
    ],
)
def test_a_file_that_breaks_the_contract(tmp_path, changes, said):
    with pytest.raises(ExportError, match=f"export means.onnx: .*{said}"):
        check_onnx(channel_means(tmp_path / "means.onnx", **changes), ChannelMeans())


def test_a_file_with_weights_beside_it(tmp_path):
    export_onnx(trained(), tmp_path / "student.onnx", {})
    model = onnx.load(tmp_path / "student.onnx")
    onnx.save_model(model, tmp_path / "two.onnx", save_as_external_data=True, location="two.bin", size_threshold=0)
    with pytest.raises(ExportError, match=r"export two.onnx: its weights lie in another file"):
        check_onnx(tmp_path / "two.onnx", trained())


def test_a_batch_that_was_baked_in(tmp_path):
    with pytest.raises(ExportError, match=r"export one.onnx: fails at batch 2 \(.*expected any batch"):
        check_onnx(batch_inside(tmp_path / "one.onnx", 1), nn.Flatten())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda images: images.reshape(2, -1), r"\(2, 18816\)"),
        (lambda images: images.mean((1, 2, 3)), r"\(1,\)"),
        (lambda images: (images, {}), "tuple"),
    ],
)
def test_a_network_that_gives_no_embeddings(tmp_path, network, said):
    class Wrong(nn.Module):
        def forward(self, images):
            return network(images)

    with pytest.raises(ExportError, match=rf"export means.onnx: Wrong gives {said} for 1 images; expected \(1, D\)"):
        check_onnx(channel_means(tmp_path / "means.onnx"), Wrong())


def test_the_weights_of_another_network(tmp_path):
    export_onnx(trained(), tmp_path / "student.onnx", {})
    other = trained()
    torch.nn.init.normal_(other.fc.weight)
    with pytest.raises(
        ExportError, match=r"export student.onnx: batch 1, the cosine with torch is .* more than 0.9999"
    ):
        check_onnx(tmp_path / "student.onnx", other)


def test_an_embedding_of_another_width(tmp_path):
    export_onnx(trained(), tmp_path / "student.onnx", {})
    with pytest.raises(ExportError, match=r"batch 1 gives \(1, 8\); torch gives \(1, 16\)"):
        check_onnx(tmp_path / "student.onnx", trained(width=16))


def test_an_embedding_that_is_zero_is_not_equal_to_anything(tmp_path):
    dead = trained()
    torch.nn.init.zeros_(dead.features.weight)
    torch.nn.init.zeros_(dead.features.bias)
    export_onnx(dead, tmp_path / "student.onnx", {})
    with pytest.raises(ExportError, match="the cosine with torch is nan; .* nan means an embedding that is zero"):
        check_onnx(tmp_path / "student.onnx", dead)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_a_file_that_is_no_model(tmp_path, content):
    (tmp_path / "student.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"export student.onnx: ") as caught:
        check_onnx(tmp_path / "student.onnx", trained())
    assert "\n" not in str(caught.value)


def test_a_model_that_onnxruntime_cannot_run(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Nonsense", ["input"], ["embedding"], domain="nowhere")],
        "nonsense",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("nowhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "student.onnx")
    with pytest.raises(ExportError, match=r"export student.onnx: onnxruntime cannot load it \("):
        check_onnx(tmp_path / "student.onnx", ChannelMeans())
