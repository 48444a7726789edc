"""Generators: every way to name one, what is refused in one line, latents drawn again, faces framed like aligned ones."""

import pickle

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from insightface_cakd.data.faces.latent import WIDTH, draw_latent
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.networks.generators import load_generator, resampled
from insightface_cakd.networks.generators.framing import frame, read_crop

HERE = "tests.networks.generators.test_generators"


class Linear(nn.Module):
    """A fixed linear map from z (B, 8) to images (B, 3, 32, 32) in [-1, 1]."""

    def __init__(self, side: int = 32, channels: int = 3) -> None:
        super().__init__()
        weight = torch.randn(8, channels * side * side, generator=torch.Generator().manual_seed(1))
        self.weight = nn.Parameter(weight / 8)
        self.shape = (channels, side, side)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z @ self.weight).unflatten(1, self.shape)


class Style(nn.Module):
    """A generator with a mapping of its own, which gives every layer the same w."""

    z_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.image = Linear()

    def mapping(self, z: torch.Tensor) -> torch.Tensor:
        return (z / z.norm(dim=1, keepdim=True)).unsqueeze(1).repeat(1, 4, 1)

    def synthesis(self, w: torch.Tensor) -> torch.Tensor:
        return self.image(w.mean(dim=1)) + 0.01 * torch.randn(len(w), 1, 32, 32)


def linear() -> nn.Module:
    return Linear()


def scaled(factor: float, shift: float = 0.0):
    network = Linear()
    return lambda z: network(z) * factor + shift


def bytes_255():
    return scaled(127.5, 127.5)


def shares():
    return scaled(0.5, 0.5)


def holes():
    return scaled(float("nan"))


def deaf():
    return lambda z: Linear()(torch.ones_like(z))


def small():
    return Linear(side=16)


def grey():
    return Linear(channels=1)


def oblong():
    return lambda z: Linear()(z)[..., :20]


def words():
    return "a face"


def broken():
    raise ValueError("no weights\nhere")


def style() -> nn.Module:
    return Style()


@pytest.fixture
def files(tmp_path):
    """The linear generator as TorchScript and as ONNX."""
    torch.jit.script(Linear()).save(str(tmp_path / "linear.pt"))
    weight = numpy_helper.from_array(Linear().weight.detach().numpy(), "weight")
    shape = numpy_helper.from_array(np.array([-1, 3, 32, 32]), "shape")
    nodes = [
        helper.make_node("MatMul", ["z", "weight"], ["flat"]),
        helper.make_node("Tanh", ["flat"], ["tanh"]),
        helper.make_node("Reshape", ["tanh", "shape"], ["images"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)]
        for name, sizes in (("z", ["n", 8]), ("images", ["n", 3, 32, 32]))
    ]
    graph = helper.make_graph(nodes, "generator", *ends, [weight, shape])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "linear.onnx"
    )
    return tmp_path


def test_a_callable_a_torchscript_file_and_an_onnx_give_the_same_faces(files):
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(2))
    expected = frame(Linear()(z).detach(), "whole")
    for made in (
        load_generator(f"{HERE}:linear", latent=8),
        load_generator(str(files / "linear.pt"), latent=8),
        load_generator(str(files / "linear.onnx")),
    ):
        assert made.width == 8
        found = made.synthesis(made.mapping(z))
        assert found.shape == (5, 3, 112, 112)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        assert not found.requires_grad


def test_a_mapping_is_used_and_what_the_generator_draws_itself_comes_from_the_seed():
    made = load_generator(f"{HERE}:style")
    w = made.mapping(torch.randn(3, 8))
    assert w.shape == (3, 4, 8)
    torch.testing.assert_close(w.norm(dim=2), torch.ones(3, 4))
    before = torch.get_rng_state()
    first, again, other = made.synthesis(w, seed=5), made.synthesis(w, seed=5), made.synthesis(w, seed=6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_mapping_may_be_a_file_of_its_own(files):
    torch.jit.script(nn.Linear(8, 8, bias=False)).save(str(files / "mapping.pt"))
    made = load_generator(str(files / "linear.pt"), 8, str(files / "mapping.pt"))
    z = torch.randn(2, 8)
    torch.testing.assert_close(made.mapping(z), z @ made.steps[0].weight.T)


def test_the_range_of_pixels_is_said_and_not_guessed():
    z = torch.randn(3, 8)
    expected = load_generator(f"{HERE}:linear", 8).synthesis(z)
    for name, pixels in (("bytes_255", (0.0, 255.0)), ("shares", (0.0, 1.0))):
        found = load_generator(f"{HERE}:{name}", 8, pixels=pixels).synthesis(z)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear", {}, r"does not say how wide its latents are; expected latent in the recipe"),
        ("linear", {"latent": 9}, r"fails on latents \(4, 9\) \(.*\); expected images\. Set latent to the width"),
        ("bytes_255", {"latent": 8}, r"its pixels lie in \[.*\]; expected \[-1, 1\]\. Set pixels"),
        (
            "linear",
            {"latent": 8, "pixels": (0.0, 255.0)},
            r"its pixels lie in \[-.*\]; expected \[0, 255\]\. Set pixels",
        ),
        (
            "shares",
            {"latent": 8, "pixels": (0.0, 255.0)},
            r"its pixels lie in \[0.*\]; expected \[0, 255\]\. Set pixels",
        ),
        ("shares", {"latent": 8}, r"its pixels lie in \[0.*\]; expected \[-1, 1\]\. Set pixels"),
        ("holes", {"latent": 8}, r"its images hold NaN or infinity"),
        ("deaf", {"latent": 8}, r"different latents give the same image"),
        ("small", {"latent": 8}, r"its images are 16 x 16; expected squares, 28 or more"),
        ("oblong", {"latent": 8}, r"its images are 32 x 20; expected squares"),
        ("grey", {"latent": 8}, r"4 latents give \(4, 1, 32, 32\) of torch\.float32; expected images \(4, 3, S, S\)"),
        ("words", {"latent": 8}, r"gives a str; expected mapping and synthesis, or a network"),
        ("broken", {"latent": 8}, r"cannot be built \(ValueError: no weights here at .*\)"),
        ("absent", {"latent": 8}, r"has no absent; expected a callable"),
    ],
)
def test_what_is_no_generator_of_faces_is_refused_in_one_line(name, options, message):
    with pytest.raises(RunError, match=message) as caught:
        load_generator(f"{HERE}:{name}", **options)
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused_and_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    (tmp_path / "stylegan.pkl").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "noise.pt").write_bytes(b"noise")
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    torch.save(Linear().state_dict(), tmp_path / "state.pt")
    for name, message in (
        ("stylegan.pkl", r"a pickle, which may run any code when it is opened; expected drawn, a TorchScript file"),
        ("noise.pt", r"cannot be read .*; expected a file written by torch\.jit\.save"),
        ("state.pt", r"cannot be read .*; expected a file written by torch\.jit\.save"),
        ("noise.onnx", r"cannot be read .*; expected an ONNX model"),
        ("absent.pt", r"no such file; expected drawn, a TorchScript file"),
    ):
        with pytest.raises(RunError, match=message) as caught:
            load_generator(str(tmp_path / name), latent=8)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "opened").exists()


def test_w_moves_by_the_similarity_times_lambda():
    w, noise = torch.randn(2, 3000, generator=torch.Generator().manual_seed(1)).repeat(2, 1).split(2)
    similarity = torch.tensor([0.5, 1.0])
    assert torch.equal(resampled(w, similarity, 0.0, noise), w), "lambda 0"
    assert torch.equal(resampled(w, torch.zeros(2), 1.0, noise), w), "c = 0"
    noise = torch.randn(2, 3000, generator=torch.Generator().manual_seed(2))
    moved = resampled(w, similarity, 0.8, noise) - w
    expected = (similarity * 0.8).square()
    torch.testing.assert_close(moved.var(dim=1), expected, rtol=0.08, atol=0)
    layers = resampled(w.unsqueeze(1).repeat(1, 4, 1), similarity, 0.8, noise)
    for layer in range(4):
        torch.testing.assert_close(layers[:, layer], w + moved)


@pytest.mark.parametrize("side", [256, 1024])
def test_ffhq_eyes_land_on_those_of_an_aligned_face(side):
    """At 256 the eyes lie on row 120, columns 95 and 162; at 1024 on row 480, columns 380 and 650."""
    row, eyes = 480 * side // 1024, (380 * side // 1024, 650 * side // 1024)
    for eye, column in zip(eyes, (38.2946, 73.5318), strict=True):
        images = torch.zeros(1, 3, side, side)
        images[:, :, row, eye] = 1
        found = frame(images, "ffhq")[0, 0]
        mass = found / found.sum()
        places = torch.arange(112.0)
        assert float((mass.sum(dim=1) * places).sum()) == pytest.approx(51.6, abs=0.5)
        assert float((mass.sum(dim=0) * places).sum()) == pytest.approx(column, abs=0.5)
        at = divmod(int(found.argmax()), 112)
        assert abs(at[0] - 51.6) <= 1
        assert abs(at[1] - column) <= 1


def test_whole_and_box_show_what_they_say():
    ramp = torch.linspace(-1, 1, 112).expand(1, 3, 112, 112)
    torch.testing.assert_close(frame(ramp, "whole"), ramp)
    half = frame(ramp, (0.0, 1.0, 0.5, 1.0))
    assert float(half.min()) == pytest.approx(0, abs=0.02)
    assert float(half.max()) == pytest.approx(1, abs=0.02)
    grey = torch.full((1, 3, 64, 64), 0.3)
    for crop in ("whole", "ffhq", (0.1, 0.9, 0.2, 0.8)):
        torch.testing.assert_close(frame(grey, crop), torch.full((1, 3, 112, 112), 0.3))


@pytest.mark.parametrize("crop", ["eyes", 0.8, [0, 1, 0], [0.5, 0.5, 0, 1], [0, 1.2, 0, 1], [0, 1, True, 1], None])
def test_a_crop_that_is_none_is_refused(crop):
    with pytest.raises(RecipeError, match=r"crop is .*; expected whole, ffhq, or \[top, bottom, left, right\]"):
        read_crop(crop)


def test_drawn_faces_depend_on_their_latent_alone_and_near_latents_are_near_faces():
    random = np.random.default_rng(3)
    latents = random.standard_normal((24, WIDTH))
    faces = np.stack([draw_latent(latent) for latent in latents]).astype(float)
    assert np.array_equal(faces[0], draw_latent(latents[0]))
    near = np.stack([draw_latent(latent + 0.05 * random.standard_normal(WIDTH)) for latent in latents]).astype(float)
    apart = np.abs(faces - near).mean(axis=(1, 2, 3))
    others = np.abs(faces - np.roll(faces, 1, axis=0)).mean(axis=(1, 2, 3))
    assert np.median(apart) < np.median(others) / 4
    for extreme in (np.full(WIDTH, 9.0), np.full(WIDTH, -9.0)):
        assert draw_latent(extreme).shape == (112, 112, 3)


def test_the_drawn_generator_needs_no_file_and_no_width():
    made = load_generator("drawn")
    images = made.synthesis(made.mapping(torch.randn(2, made.width)))
    assert images.shape == (2, 3, 112, 112)
    assert float(images.min()) >= -1
    assert float(images.max()) <= 1
    with pytest.raises(RunError, match=r"generator drawn: latent is 512; expected 63"):
        load_generator("drawn", latent=512)


def test_a_real_generator_gives_faces(shared_data):
    made = load_generator(str(shared_data / "generator" / "dcgan64.pt"), latent=100)
    images = made.synthesis(torch.randn(4, 100))
    assert images.shape == (4, 3, 112, 112)
    with pytest.raises(RunError, match=r"dcgan64\.pt: fails on latents \(4, 512\)"):
        load_generator(str(shared_data / "generator" / "dcgan64.pt"), latent=512)
