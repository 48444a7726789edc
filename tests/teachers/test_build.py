"""build_teacher: every kind of teacher, from a recipe's few lines."""

import random

import numpy as np
import pytest
import torch

from insightface_cakd.data.embedding_cache import write_cache
from insightface_cakd.errors import TeacherError
from insightface_cakd.networks.timm_networks import create_timm
from insightface_cakd.networks.weights import file_sha256
from insightface_cakd.teachers import TeacherSpec, build_teacher
from tests.networks.onnx_models import channel_means
from tests.teachers.faces import WIDTH, as_input, faces, get_model, saved, trained


def build(device="cpu", **content):
    return build_teacher(TeacherSpec(**content), get_model, device)


def test_a_network_of_the_host_with_the_width_read_from_its_weights(tmp_path):
    path = saved(tmp_path, width=24)
    teacher = build(network="tiny", weights=str(path))
    images = as_input(faces())
    assert (teacher.name, teacher.embedding_size, teacher.sha256) == ("tiny", 24, file_sha256(path))
    torch.testing.assert_close(teacher(images), trained(24).eval()(images))
    assert teacher.network is not None


def test_a_timm_network(tmp_path):
    network = create_timm("vit_tiny_patch16_224", 112, TeacherError, num_classes=32).eval()
    torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / "vit.pt")
    teacher = build(network="timm:vit_tiny_patch16_224", weights=str(tmp_path / "vit.pt"))
    images = as_input(faces(2))
    assert teacher.embedding_size == 32
    torch.testing.assert_close(teacher(images), network(images))


def test_a_timm_network_made_for_another_size_is_refused_with_both_shapes(tmp_path):
    torch.save(create_timm("vit_tiny_patch16_224", 224, TeacherError, num_classes=32).state_dict(), tmp_path / "vit.pt")
    line = r"1 of another shape \(pos_embed is \(1, 197, 192\), the network's \(1, 50, 192\)\).*teacher.input_size"
    with pytest.raises(TeacherError, match=line):
        build(network="timm:vit_tiny_patch16_224", weights=str(tmp_path / "vit.pt"))


def test_a_callable_with_weights_and_one_that_brings_its_own(tmp_path):
    images = as_input(faces())
    loaded = build(network="tests.teachers.faces:TinyFace", weights=str(saved(tmp_path, width=24)))
    own = build(network="tests.teachers.faces:trained")
    assert (loaded.embedding_size, own.embedding_size, own.sha256) == (24, WIDTH, None)
    torch.testing.assert_close(loaded(images), trained(24).eval()(images))
    torch.testing.assert_close(own(images), trained().eval()(images))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_torchscript_file(tmp_path):
    path = tmp_path / "model.ts"
    torch.jit.trace(trained().eval(), torch.zeros(2, 3, 112, 112)).save(str(path))
    teacher = build(network="torchscript", weights=str(path))
    images = as_input(faces())
    torch.testing.assert_close(teacher(images), trained().eval()(images))
    assert (teacher.name, teacher.embedding_size, teacher.sha256) == ("model.ts", WIDTH, file_sha256(path))
    assert teacher.network is None


def test_an_onnx_file(tmp_path):
    path = channel_means(tmp_path / "means.onnx")
    teacher = build(network="onnx", weights=str(path))
    images = as_input(faces())
    torch.testing.assert_close(teacher(images), images.mean(dim=(2, 3)), atol=1e-6, rtol=0)
    assert (teacher.embedding_size, teacher.sha256, teacher.network) == (3, file_sha256(path), None)


def test_cached_embeddings_of_images_and_their_mirror_images(tmp_path):
    live = build(network="tiny", weights=str(saved(tmp_path)))
    write_cache(live, [faces(4)], tmp_path / "cache")
    cached = build(network="cached", weights=str(tmp_path / "cache"), sha256=live.sha256)
    images = torch.cat([as_input(faces(4)), as_input(faces(4)).flip(-1)])
    torch.testing.assert_close(cached(images), live(images), rtol=1e-3, atol=1e-3)
    assert (cached.name, cached.embedding_size, cached.sha256) == ("tiny (cached)", WIDTH, live.sha256)
    assert cached.network is None


@pytest.mark.parametrize("network", ["tiny", "timm:resnet10t", "onnx", "torchscript", "cached"])
def test_no_kind_goes_on_without_weights(network):
    with pytest.raises(TeacherError, match=rf"teacher {network}: teacher.weights is not set.*--teacher"):
        build(network=network)


@pytest.mark.parametrize("network", ["tiny", "timm:resnet10t", "tests.teachers.faces:TinyFace", "onnx", "torchscript"])
def test_no_kind_goes_on_with_another_file_than_the_recipe_means(tmp_path, network):
    path = saved(tmp_path)
    line = rf"teacher weights .*model.pt: sha256 is {file_sha256(path)}, expected {'0' * 64}"
    with pytest.raises(TeacherError, match=line):
        build(network=network, weights=str(path), sha256="0" * 64)


def test_a_sha256_cannot_be_promised_of_a_callable_without_a_file():
    with pytest.raises(TeacherError, match=rf"sha256 is None, expected {'0' * 64}"):
        build(network="tests.teachers.faces:trained", sha256="0" * 64)


def test_a_cache_of_another_teacher_is_refused(tmp_path):
    live = build(network="tiny", weights=str(saved(tmp_path)))
    write_cache(live, [faces(2)], tmp_path / "cache")
    with pytest.raises(TeacherError, match=rf"its teacher's: sha256 is {live.sha256}, expected {'0' * 64}"):
        build(network="cached", weights=str(tmp_path / "cache"), sha256="0" * 64)
    with pytest.raises(TeacherError, match=r"holds images of 112x112, teacher.input_size is 128"):
        build(network="cached", weights=str(tmp_path / "cache"), input_size=128)


def test_the_wrong_architecture_is_refused(tmp_path):
    with pytest.raises(TeacherError, match=r"0 missing keys, 0 unexpected, 7 of another shape \(conv.weight is \(4, "):
        build(network="wide", weights=str(saved(tmp_path)))
    with pytest.raises(TeacherError, match=r"\d+ missing keys \(.*\), \d+ unexpected \(.*Is teacher.network the right"):
        build(network="timm:resnet10t", weights=str(saved(tmp_path)))


def test_an_unknown_network_is_refused(tmp_path):
    with pytest.raises(
        TeacherError, match=r"teacher.network tny: the host has no such network \(network 'tny' is unknown"
    ):
        build(network="tny", weights=str(saved(tmp_path)))


@pytest.mark.parametrize(
    "content",
    [{"network": "onnx", "embedding_size": 8}, {"network": "tests.teachers.faces:trained", "embedding_size": 5}],
)
def test_another_width_than_the_recipe_says_is_refused(tmp_path, content):
    if content["network"] == "onnx":
        content["weights"] = str(channel_means(tmp_path / "means.onnx"))
    with pytest.raises(TeacherError, match=r"its embedding has \d values, teacher.embedding_size is \d"):
        build(**content)


def test_building_draws_no_random_number(tmp_path):
    path = saved(tmp_path)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    build(network="tiny", weights=str(path))
    build(network="tests.teachers.faces:TinyFace")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]


@pytest.mark.gpu
def test_on_cuda_it_stays_close_to_float32(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    path = saved(tmp_path)
    images = as_input(faces(8))
    expected = build(network="tiny", weights=str(path))(images)
    for network in ("tiny", "tests.teachers.faces:TinyFace"):
        answer = build("cuda", network=network, weights=str(path))(images.cuda())
        assert answer.is_cuda
        assert answer.dtype == torch.float32
        assert torch.cosine_similarity(answer.cpu(), expected).min() > 0.999
