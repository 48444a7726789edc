"""ONNX teachers: the published form, whatever batch the graph was made for."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from insightface_cakd.errors import TeacherError
from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.onnx import OnnxNetwork, model_sha256, named_like_normalisation, providers
from insightface_cakd.networks.weights import file_sha256
from insightface_cakd.teachers import TeacherSpec, build_teacher
from tests.export.networks import settle
from tests.networks.onnx_models import batch_inside, channel_means, mean_of_the_batch_added
from tests.teachers.faces import as_input, faces

CPU = torch.device("cpu")


def load(path, size=112):
    return OnnxNetwork(path, CPU, size, "teacher weights x.onnx")


@pytest.mark.parametrize("batch", ["batch", 1, 2, 4])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_any_number_of_images_runs_on_a_graph_of_any_batch(tmp_path, batch, count):
    network = load(channel_means(tmp_path / "means.onnx", batch=batch, declared=batch))
    images = as_input(faces(count))
    torch.testing.assert_close(network(images), images.mean(dim=(2, 3)), atol=1e-6, rtol=0)


def test_a_declared_output_batch_of_one_is_not_believed_and_not_complained_about(tmp_path, capfd):
    network = load(channel_means(tmp_path / "means.onnx", declared=1))
    assert network(as_input(faces(3))).shape == (3, 3)
    assert capfd.readouterr().err == ""


def test_images_in_channels_last_layout_are_read_right(tmp_path):
    network = load(channel_means(tmp_path / "means.onnx"))
    images = as_input(faces()).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(images), images.mean(dim=(2, 3)), atol=1e-6, rtol=0)


def test_a_graph_that_normalises_itself_is_given_bytes_by_insightfaces_rule(tmp_path):
    path = channel_means(tmp_path / "means.onnx", first="normalise")
    assert named_like_normalisation(onnx.load(path)) is not None
    assert named_like_normalisation(onnx.load(channel_means(tmp_path / "plain.onnx"))) is None
    pixels = faces()
    expected = pixels.float().mean(dim=(1, 2))
    torch.testing.assert_close(load(path)(as_input(pixels)), expected, atol=1e-3, rtol=0)


def test_a_graph_of_another_size_names_both_and_runs_when_told(tmp_path):
    path = channel_means(tmp_path / "means.onnx", side=128)
    with pytest.raises(
        TeacherError, match=r"takes images of 128x128, teacher.input_size is 112. Set .*input_size: 128"
    ):
        load(path)
    spec = TeacherSpec(network="onnx", weights=str(path), input_size=128)
    assert build_teacher(spec, None, CPU)(as_input(faces())).shape == (3, 3)
    assert load(channel_means(tmp_path / "free.onnx", side="side"))(as_input(faces())).shape == (3, 3)


def test_a_batch_of_one_that_is_written_into_the_graph_is_run_image_by_image_with_a_word(tmp_path):
    spec = TeacherSpec(network="onnx", weights=str(batch_inside(tmp_path / "one.onnx", 1)))
    with pytest.warns(
        UserWarning, match=r"one.onnx: a batch of 1 is written into its graph, .* image by image, which is slow"
    ):
        teacher = build_teacher(spec, None, CPU)
    images = as_input(faces(5))
    torch.testing.assert_close(teacher(images), images.flatten(1))


def test_a_larger_batch_that_is_written_into_the_graph_is_one_line(tmp_path):
    with pytest.raises(
        TeacherError, match=r"x.onnx: answers \(4, 9408\) to 1 images; expected \(1, D\), .*\. Export it for a"
    ):
        load(batch_inside(tmp_path / "four.onnx", 4))
    with pytest.raises(TeacherError, match=r"x.onnx: cannot be run on an image of 112x112 \(.*; expected a recogniser"):
        load(batch_inside(tmp_path / "five.onnx", 5))


def test_images_that_change_each_others_answers_are_run_one_by_one_with_a_word(tmp_path):
    with pytest.warns(UserWarning, match=r"x.onnx: answers something else to an image when another is in the batch"):
        network = load(mean_of_the_batch_added(tmp_path / "mixed.onnx"))
    images = as_input(faces(3))
    torch.testing.assert_close(network(images), torch.cat([network(image[None]) for image in images]))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_inputs_of_other_kinds_and_with_the_channels_last_are_fed_right(tmp_path, kind, channels_last, batch):
    network = load(channel_means(tmp_path / "means.onnx", batch, kind=kind, channels_last=channels_last))
    pixels = faces(5)
    expected = pixels.float().mean(dim=(1, 2)) if kind == TensorProto.UINT8 else as_input(pixels).mean(dim=(2, 3))
    found = network(as_input(pixels))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_a_given_mean_or_std_replaces_the_guess_at_what_a_graph_takes(tmp_path):
    path = channel_means(tmp_path / "means.onnx", first="normalise")
    pixels = faces()
    shares = pixels.float().mean(dim=(1, 2)) / 255
    own = build_teacher(TeacherSpec(network="onnx", weights=str(path)), None, CPU)
    torch.testing.assert_close(own(as_input(pixels)), 255 * shares, atol=1e-3, rtol=0)
    told = build_teacher(TeacherSpec(network="onnx", weights=str(path), mean=0, std=1), None, CPU)
    torch.testing.assert_close(told(as_input(pixels)), shares, atol=1e-5, rtol=0)
    levels = channel_means(tmp_path / "levels.onnx", kind=TensorProto.UINT8)
    with pytest.raises(TeacherError, match=r"levels.onnx: takes uint8, .*expected no mean and no std\. Remove"):
        build_teacher(TeacherSpec(network="onnx", weights=str(levels), std=0.5), None, CPU)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"kind": TensorProto.INT64},
            r"its inputs are input tensor\(int64\) .*; expected one image input .* of float32",
        ),
        ({"channels": 1}, r"its inputs are input tensor\(float\) \['batch', 1, 112, 112\]; expected one image input"),
        (
            {"outputs": 3},
            r"has 3 outputs \(embedding \['batch', 3\], more1 .*, more2 .*\); expected one, .* onnx\.utils\.extract_model",
        ),
    ],
)
def test_graphs_with_other_inputs_or_outputs_are_refused(tmp_path, options, line):
    with pytest.raises(TeacherError, match=f"teacher weights x.onnx: {line}"):
        load(channel_means(tmp_path / "means.onnx", **options))


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_no_onnx_is_one_line(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(TeacherError, match=r"x.onnx: cannot be read \(.+\); expected an ONNX model") as caught:
        load(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_line(tmp_path, shared_data):
    content = (shared_data / "models" / "edgeface_xxs.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(TeacherError, match=r"x.onnx: cannot be read \(.+\); expected an ONNX model"):
        load(tmp_path / "model.onnx")


def test_a_gpu_that_onnxruntime_cannot_use_is_said(monkeypatch):
    assert providers(CPU, "x") == ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.warns(UserWarning, match=r"x: runs on the CPU, this onnxruntime has no CUDA provider"):
        assert providers(torch.device("cuda"), "x") == ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert providers(torch.device("cuda"), "x")[0] == "CUDAExecutionProvider"


def test_a_published_recogniser_gives_what_onnxruntime_gives(shared_data):
    path = shared_data / "models" / "edgeface_xs.onnx"
    teacher = build_teacher(TeacherSpec(network="onnx", weights=str(path)), None, CPU)
    images = as_input(faces(3))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = np.concatenate([session.run(None, {"input": image[None].numpy()})[0] for image in images])
    assert teacher.embedding_size == 512
    np.testing.assert_allclose(teacher(images).numpy(), expected, atol=1e-5)
    assert named_like_normalisation(onnx.load(path)) is None


@pytest.mark.parametrize("count", [1, 8, 19])
def test_prelu_written_anew_and_pieces_change_no_embedding(tmp_path, count):
    torch.manual_seed(0)
    export_onnx(settle(get_model("cnn_tiny", num_features=64)), tmp_path / "student.onnx", {})
    images = as_input(faces(count))
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx", providers=["CPUExecutionProvider"])
    expected = np.concatenate(
        [session.run(None, {session.get_inputs()[0].name: image[None].numpy()})[0] for image in images]
    )
    found = OnnxNetwork(tmp_path / "student.onnx", CPU, 112, "x")(images).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_detector_is_no_teacher(shared_data):
    with pytest.raises(TeacherError, match=r"has 9 outputs \(.*Is it a recognition model\?"):
        load(shared_data / "models" / "scrfd_500m.onnx")


def with_weights_beside(path, seed):
    """Write a network whose weights lie in a file of their own, `weights.bin`."""
    torch.manual_seed(seed)
    export_onnx(get_model("cnn_tiny", num_features=32).eval(), path, {})
    (path.parent / "weights.bin").unlink(missing_ok=True)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def test_other_weights_beside_the_same_graph_are_another_model(tmp_path):
    path = tmp_path / "teacher.onnx"
    with_weights_beside(path, 1)
    graph, first = path.read_bytes(), model_sha256(path)
    assert first == model_sha256(path)
    assert (
        build_teacher(
            TeacherSpec(network="onnx", weights=str(path), sha256=first), get_model, torch.device("cpu")
        ).sha256
        == first
    )
    with_weights_beside(path, 2)
    assert path.read_bytes() == graph, "the file itself tells nothing"
    assert model_sha256(path) != first
    with pytest.raises(TeacherError, match="It is another file or a damaged one"):
        build_teacher(TeacherSpec(network="onnx", weights=str(path), sha256=first), get_model, torch.device("cpu"))
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(
        TeacherError, match=r"its weights .*weights\.bin: does not exist; expected a file\. Put them beside it"
    ):
        model_sha256(path)


def test_a_model_in_one_file_has_the_hash_of_the_file(tmp_path):
    export_onnx(get_model("cnn_tiny", num_features=32).eval(), tmp_path / "a.onnx", {})
    (tmp_path / "b.pt").write_bytes(b"weights")
    (tmp_path / "c.onnx").write_bytes(b"no graph")
    for name in ("a.onnx", "b.pt", "c.onnx"):
        assert model_sha256(tmp_path / name) == file_sha256(tmp_path / name)
