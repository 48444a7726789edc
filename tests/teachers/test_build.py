"""build_teacher: every kind of teacher, from a recipe's few lines."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.embedding_cache import write_cache
from insightface_cakd.data.prototypes import Prototypes, write_prototypes
from insightface_cakd.data.prototypes.writing import LabelledFaces
from insightface_cakd.errors import TeacherError
from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.networks.timm_networks import create_timm
from insightface_cakd.networks.weights import file_sha256
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.tasks.teaching import make_teachers
from insightface_cakd.teachers import TeacherSpec, build_teacher
from tests.networks.onnx_models import channel_means
from tests.teachers.faces import WIDTH, ChannelMeans, as_input, faces, get_model, saved, trained


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


def test_a_runs_folder_is_its_weights(tmp_path):
    saved(tmp_path, width=24)
    teacher = build(network="tiny", weights=str(tmp_path))
    assert (teacher.embedding_size, teacher.sha256) == (24, file_sha256(tmp_path / "model.pt"))


class Dead(nn.Module):
    """Gives the same for every image, as a network whose activations have died."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, WIDTH)
        for weight in self.parameters():
            weight.data.zero_()
        self.fc.bias.data.fill_(value)

    def forward(self, images):
        return self.fc(self.conv(images).mean(dim=(2, 3)))


def dead(folder, way, value):
    """Return a recipe's keys for a teacher that says nothing, given in some way."""
    network = Dead(value).eval()
    path = folder / f"teacher.{'onnx' if way == 'onnx' else 'pt'}"
    if way == "onnx":
        export_onnx(network, path, {})
    elif way == "torchscript":
        torch.jit.trace(network, torch.zeros(2, 3, 112, 112)).save(str(path))
    else:
        torch.save(network.state_dict(), path)
    return {"network": "tests.teachers.test_build:Dead" if way == "callable" else way, "weights": str(path)}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("way", ["callable", "onnx", "torchscript"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, "2 of 2 embeddings are all zero, the first is number 0; expected directions"),
        (0.3, "all 2 embeddings are the same; expected different ones"),
        (float("nan"), "2 of 2 embeddings are not finite; expected numbers"),
    ],
)
def test_a_teacher_that_says_nothing_is_refused_whatever_way_it_comes(tmp_path, way, value, message):
    with pytest.raises(TeacherError, match=rf"teacher weights .*teacher\.\w+: tried out: {message}.*teacher\.channels"):
        build(**dead(tmp_path, way, value))


def test_each_of_several_teachers_is_tried_out(tmp_path):
    several = {"good": {"network": "tiny", "weights": str(saved(tmp_path))}, "dead": dead(tmp_path, "callable", 0.0)}
    content = {"teachers": several, "ensemble": "mean", "losses": [{"loss": "cosine", "weight": 1}]}
    recipe = parse_recipe(content, "recipe")
    with pytest.raises(TeacherError, match=r"2 of 2 embeddings are all zero"):
        make_teachers(SimpleNamespace(get_model=get_model), recipe, torch.device("cpu"))


BGR = {"channels": "bgr", "mean": [0.4, 0.5, 0.6], "std": 0.25}


def means_of(pixels, channels="rgb", mean=0.5, std=0.5):
    """Return the means of the channels, as a network that takes them in this format sees them."""
    shares = pixels.float().mean(dim=(1, 2)) / 255
    return ((shares.flip(1) if channels == "bgr" else shares) - torch.tensor(mean)) / std


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("way", ["callable", "onnx", "torchscript"])
@pytest.mark.parametrize("takes", [{}, {"channels": "bgr"}, {"mean": 0, "std": 1}, BGR])
def test_every_way_gives_the_images_as_the_recipe_says(tmp_path, way, takes):
    path = channel_means(tmp_path / "means.onnx")
    if way == "torchscript":
        path = tmp_path / "means.ts"
        torch.jit.trace(ChannelMeans(), torch.zeros(2, 3, 112, 112)).save(str(path))
    network = "tests.teachers.faces:ChannelMeans" if way == "callable" else way
    teacher = build(network=network, weights=None if way == "callable" else str(path), **takes)
    pixels = faces()
    torch.testing.assert_close(teacher(as_input(pixels)), means_of(pixels, **takes), atol=1e-5, rtol=0)
    assert teacher.computed(as_input(pixels)).equal(teacher(as_input(pixels)))


def test_a_cache_keeps_the_format_and_is_not_taken_for_that_of_another(tmp_path):
    live = build(network="tests.teachers.faces:ChannelMeans", **BGR)
    meta = write_cache(live, [faces(4)], tmp_path / "cache")
    assert meta.takes == "bgr, mean 0.4/0.5/0.6, std 0.25"
    cached = build(network="cached", weights=str(tmp_path / "cache"), **BGR)
    torch.testing.assert_close(cached(as_input(faces(4))), means_of(faces(4), **BGR), atol=2e-3, rtol=1e-3)
    message = r"cache: of a teacher that took pixels as bgr, mean 0\.4/0\.5/0\.6, std 0\.25, the recipe's takes rgb, .*teacher\.cha"
    with pytest.raises(TeacherError, match=message):
        build(network="cached", weights=str(tmp_path / "cache"))


def test_a_published_network_that_takes_bgr_answers_as_before_live_cached_and_in_prototypes(shared_data, tmp_path):
    whole = torch.load(shared_data / "models" / "edgeface_xs.pt", weights_only=True)
    turned = {key: value.flip(1) if key == "stem.0.weight" else value for key, value in whole.items()}
    assert turned["stem.0.weight"].shape[1] == 3
    torch.save(turned, tmp_path / "bgr.pt")
    edgeface = {"network": "timm:edgenext_x_small"}
    rgb = build(**edgeface, weights=str(shared_data / "models" / "edgeface_xs.pt"))
    bgr = build(**edgeface, weights=str(tmp_path / "bgr.pt"), channels="bgr")
    pixels = torch.from_numpy(load_bin(shared_data / "lfw_dev.bin").images[:4])
    expected = rgb(as_input(pixels))
    torch.testing.assert_close(bgr(as_input(pixels)), expected, atol=1e-4, rtol=1e-4)
    write_cache(bgr, [pixels.numpy()], tmp_path / "cache")
    cached = build(network="cached", weights=str(tmp_path / "cache"), channels="bgr")
    torch.testing.assert_close(cached(as_input(pixels)), expected, atol=2e-3, rtol=2e-3)
    labelled = LabelledFaces(tmp_path / "people", "d" * 64, np.array([0, 0, 1, 1]), 2, [pixels.numpy()])
    found = [write_prototypes(teacher, labelled, tmp_path / name) for teacher, name in ((rgb, "rgb"), (bgr, "bgr"))]
    assert [meta.takes.split(",")[0] for meta in found] == ["rgb", "bgr"]
    rows = [Prototypes.open(tmp_path / name).rows for name in ("rgb", "bgr")]
    np.testing.assert_allclose(*rows, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"network": "onnx", "weights": "a.onnx"}, "is no network of torch"),
        ({"network": "cached", "weights": "cache"}, "is no network of torch"),
        ({"network": "tiny", "trains": True, "embedding_size": 8}, "learns with the student"),
        ({"network": "tiny", "prompts": {}}, "learns with the student"),
    ],
)
def test_a_teacher_that_cannot_be_one_program_is_refused(content, reason):
    with pytest.raises(TeacherError, match=rf"cannot be compiled, it {reason}; .* Remove teacher\.compile\."):
        build(compile=True, **content)


def test_a_teacher_is_compiled_if_its_recipe_says_so(tmp_path):
    weights = str(saved(tmp_path))
    assert [build(network="tiny", weights=weights, compile=kind).compiled for kind in (False, True)] == [False, True]
