"""Export: the contract of the file, what it says of itself, and that nothing half-done is left."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from insightface_cakd.errors import ExportError
from insightface_cakd.export.onnx import EXPORTERS, export_onnx
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.data.record_files import disk_full_after
from tests.export.networks import WIDTH, trained

METADATA = {"recipe": "cosine", "teacher": "r100", "note": "accents: é, ü; {json: [1]}"}


class Attention(nn.Module):
    """Attention over rows of pixels, an operator that ONNX has from opset 14 on."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Conv2d(3, 4, 16, stride=16)
        self.outside = nn.Linear(49 * 4, WIDTH)

    def forward(self, images):
        tokens = self.inside(images).flatten(2).transpose(1, 2)
        return self.outside(nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).flatten(1))


class Complex(nn.Module):
    """A Fourier transform of complex numbers with a determinant: no ONNX operator for that."""

    def forward(self, images):
        return torch.linalg.eigvals(images[:, 0, :4, :4]).real


@pytest.fixture(params=EXPORTERS)
def exporter(request) -> str:
    return request.param


def dimensions(end: onnx.ValueInfoProto) -> list[int | str]:
    return [one.dim_param or one.dim_value for one in end.type.tensor_type.shape.dim]


def test_the_file_has_the_one_input_and_output_of_insightface(tmp_path, exporter):
    export_onnx(trained(), tmp_path / "student.onnx", METADATA, exporter)
    graph = onnx.load(tmp_path / "student.onnx").graph
    (entry,), (end,) = graph.input, graph.output
    assert (entry.name, dimensions(entry)) == ("data", ["batch", 3, 112, 112])
    assert (end.name, dimensions(end)) == ("embedding", ["batch", WIDTH])
    assert {entry.type.tensor_type.elem_type, end.type.tensor_type.elem_type} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_file_does_what_the_network_does_at_any_batch(tmp_path, exporter, batch):
    network = trained().eval()
    export_onnx(network, tmp_path / "student.onnx", {}, exporter)
    images = torch.rand(batch, 3, 112, 112) * 2 - 1
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"data": images.numpy()})
    np.testing.assert_allclose(found, network(images).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_file_says_what_it_was_told_and_is_alone(tmp_path, exporter):
    export_onnx(trained(), tmp_path / "student.onnx", METADATA, exporter)
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx", providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == METADATA
    assert [file.name for file in tmp_path.iterdir()] == ["student.onnx"]


def test_the_file_names_no_path_of_this_machine(tmp_path, exporter):
    export_onnx(trained(), tmp_path / "student.onnx", {}, exporter)
    content = (tmp_path / "student.onnx").read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


def test_old_readers_can_read_the_file(tmp_path):
    export_onnx(trained(), tmp_path / "student.onnx", {})
    model = onnx.load(tmp_path / "student.onnx")
    assert [entry.version for entry in model.opset_import] == [13]
    assert model.ir_version == 7


def test_a_network_with_attention_gets_the_opset_that_has_it_and_nothing_is_printed(tmp_path, capfd):
    export_onnx(Attention(), tmp_path / "student.onnx", {})
    assert [entry.version for entry in onnx.load(tmp_path / "student.onnx").opset_import] == [14]
    assert capfd.readouterr().out == ""


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export_onnx(trained(), tmp_path / name, METADATA)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_network_keeps_mode_precision_and_weights(tmp_path):
    network = trained().half().train()
    network.bn.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export_onnx(network, tmp_path / "student.onnx", {})
    assert (network.training, network.bn.training, network.fc.training) == (True, False, True)
    after = network.state_dict()
    assert all(torch.equal(after[key], value) and after[key].dtype == value.dtype for key, value in before.items())
    weights = onnx.load(tmp_path / "student.onnx").graph.initializer
    assert {onnx.TensorProto.FLOAT16} & {weight.data_type for weight in weights} == set()


def test_standard_output_works_afterwards(tmp_path, capfd):
    export_onnx(trained(), tmp_path / "student.onnx", {})
    print("still here")
    assert capfd.readouterr().out == "still here\n"


class TestMistakes:
    def test_an_operator_that_onnx_does_not_have(self, tmp_path, exporter, capfd):
        with pytest.raises(
            ExportError, match=r"export student.onnx: Complex cannot be exported \(.*expected operators"
        ):
            export_onnx(Complex(), tmp_path / "student.onnx", {}, exporter)
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr().out == ""

    def test_dynamo_without_its_package_names_the_extra(self, tmp_path, monkeypatch):
        monkeypatch.setattr("insightface_cakd.export.onnx.find_spec", lambda name: None)
        with pytest.raises(ExportError, match=r"needs onnxscript.*pip install 'insightface-cakd\[dynamo\]'"):
            export_onnx(trained(), tmp_path / "student.onnx", {}, "dynamo")
        export_onnx(trained(), tmp_path / "student.onnx", {}, "legacy")

    def test_a_name_that_insightface_does_not_open(self, tmp_path):
        with pytest.raises(ExportError, match=r"export student.bin: expected a name that ends in .onnx"):
            export_onnx(trained(), tmp_path / "student.bin", {})

    def test_a_full_disk_leaves_the_former_file(self, tmp_path, exporter):
        (tmp_path / "student.onnx").write_bytes(b"former")
        with (
            disk_full_after(1000),
            pytest.raises(ExportError, match=r"export student.onnx: cannot be written .*; nothing was left behind"),
        ):
            export_onnx(trained(), tmp_path / "student.onnx", {}, exporter)
        assert [file.name for file in tmp_path.iterdir()] == ["student.onnx"]
        assert (tmp_path / "student.onnx").read_bytes() == b"former"

    def test_a_network_that_raises(self, tmp_path):
        class Broken(nn.Module):
            def forward(self, images):
                raise ValueError("line one\nline two")

        with pytest.raises(ExportError, match=r"Broken cannot be exported \(ValueError: line one line two\)") as caught:
            export_onnx(Broken(), tmp_path / "student.onnx", {})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cnn_tiny", "vit_tiny"])
def test_the_quick_networks_are_small_files(tmp_path, name):
    network = get_model(name, num_features=64)
    export_onnx(network, tmp_path / "student.onnx", {})
    weights = sum(parameter.numel() for parameter in network.parameters()) * 4
    assert (tmp_path / "student.onnx").stat().st_size < 1.1 * weights + 100_000
