"""Fields that the networks cannot give and teachers that cannot learn: one line through the command line, nothing written."""

import re

import pytest
import torch
import yaml

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, refused, train
from tests.networks.onnx_models import channel_means

FIELDS = {"student": "layer4", "centres": 16, "width": 32, "heads": 4}
TERMS = [{"loss": f"urfm_{name}", "weight": 1} for name in ("attention", "feature", "anchor")]
TAUGHT = ("--distill", "own.yaml", "--teacher")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with untrained teachers."""
    monkeypatch.chdir(tmp_path)
    for network in ("vit_tiny", "swin_tiny", "cnn_tiny"):
        torch.save(get_model(network, num_features=64).state_dict(), tmp_path / f"{network}.pt")
    channel_means(tmp_path / "means.onnx")
    return tmp_path


def write(here, fields=None, **teacher):
    """Write a recipe with unified receptive fields, and prompts unless they are said to be None."""
    teacher = {"network": "vit_tiny", "prompts": {"tokens": 2}, **teacher}
    content = {"teacher": teacher, "urfm": {**FIELDS, **(fields or {})}, "losses": TERMS}
    (here / "own.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("network", "weights", "message"),
    [
        (
            "cnn_tiny",
            "cnn_tiny.pt",
            r"teacher cnn_tiny: SmallCNN has no tokens that prompts could join; .*vit_t, timm:swin",
        ),
        (
            "onnx",
            "means.onnx",
            r"teacher onnx: cannot learn prompts, .*the torch network that the file was exported from",
        ),
        (
            "cached",
            "cache",
            r"teacher cached: cannot learn prompts, .* Remove teacher.prompts, .*the network that wrote",
        ),
        (
            "torchscript",
            "s.pt",
            r"teacher torchscript: cannot learn prompts, .*the torch network that the file was made",
        ),
    ],
)
def test_prompts_in_a_teacher_that_cannot_learn_them(network, weights, message, here, face_set):
    write(here, network=network)
    refused(train(face_set, *TAUGHT, weights), message, here)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"student": "conv_sep"}, r"tap 'conv_sep': module not found in SmallCNN; expected a module path such as .*layer1"),
        ({"student": "layer5"}, r"tap 'layer5': module not found in SmallCNN; .* Did you mean 'layer4'\?"),
        ({"student": "fc"}, r"urfm\.student: activation \(1, 64\) has no grid; expected a map \(B, C, H, W\) or tokens"),
        ({"student_extra": 1}, r"urfm\.student: activation \(1, 128, 7, 7\) with 1 extra tokens has no grid; .*leave the"),
        ({"teacher": "blocks.9"}, r"tap 'blocks\.9': module not found in TinyViT; .* Did you mean 'blocks"),
        ({"teacher": "feature"}, r"urfm\.teacher: activation \(1, 64\) has no grid"),
        ({"teacher": "norm", "teacher_extra": 1}, r"urfm\.teacher: 49 tokens, 1 of them extra, lie on no square grid; "),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_tap_or_grid_that_the_network_does_not_have(fields, message, here, face_set):
    write(here, fields)
    refused(train(face_set, *TAUGHT, "vit_tiny.pt"), message, here)


def test_a_teacher_without_prompts_and_without_a_tap(here, face_set):
    write(here, prompts=None)
    message = (
        r"urfm\.teacher: not set, and teacher vit_tiny has no prompts; .* Set urfm\.teacher to a module path, or teach"
    )
    refused(train(face_set, *TAUGHT, "vit_tiny.pt"), message, here)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (0, r"recipe own\.yaml: teacher\.prompts\.tokens is 0; input should be greater than or equal to 1"),
        (-8, r"recipe own\.yaml: teacher\.prompts\.tokens is -8; input should be greater"),
        (2.5, r"recipe own\.yaml: teacher\.prompts\.tokens is 2\.5; input should be a valid integer"),
        ("8", r"recipe own\.yaml: teacher\.prompts\.tokens is '8'; input should be a valid integer"),
    ],
)
def test_a_number_of_prompts_that_is_none(tokens, message, here, face_set):
    write(here, prompts={"tokens": tokens})
    run = train(face_set, *TAUGHT, "vit_tiny.pt")
    assert refused(run, message, here) == refused(["recipes", "check", "own.yaml"], message, here)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"centres": 0}, r"recipe own\.yaml: urfm\.centres is 0; input should be greater than 0"),
        ({"centres": -4}, r"recipe own\.yaml: urfm\.centres is -4; input should be greater than 0"),
        ({"centres": 50, "bias": "query"}, r"recipe own\.yaml: urfm\.centres: 50 centres lie on no square grid; .*"),
        ({"centers": 49}, r"recipe own\.yaml: urfm\.centers is not a key; .*Did you mean 'centres'"),
        ({"heads": 3}, r"recipe own\.yaml: urfm\.heads: width 32 cannot be divided by 3 heads; expected a divisor"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_number_of_centres_that_cannot_be(fields, message, here, face_set):
    write(here, fields)
    run = train(face_set, *TAUGHT, "vit_tiny.pt")
    assert refused(run, message, here) == refused(["recipes", "check", "own.yaml"], message, here)


def test_more_centres_than_pixels_are_warned_of_and_the_run_goes_on(here, face_set):
    write(here, {"centres": 64})
    with pytest.warns(UserWarning, match=r"urfm\.centres: 64 centres for a grid of 49 patches \(student 7x7, .*share"):
        assert cakd(*train(face_set, *TAUGHT, "vit_tiny.pt")).code == 0


@pytest.mark.parametrize("size", [100, 113, 30])
def test_a_swin_of_a_size_that_breaks_patch_merging(size, here, face_set):
    write(here, network="timm:swin_tiny_patch4_window7_224", input_size=size)
    line = refused(
        train(face_set, *TAUGHT, "vit_tiny.pt"),
        rf"network timm:swin_tiny_patch4_window7_224: images of {size}x{size} give patch merging an odd map to halve",
        here,
    )
    named = [int(found) for found in re.findall(r"Set teacher\.input_size to (\d+) or (\d+)", line)[0]]
    assert named[0] % 16 == named[1] % 16 == 0


def test_a_swin_that_is_built_for_one_size_only(here, face_set):
    write(here, network="swin_tiny", input_size=100)
    refused(
        train(face_set, *TAUGHT, "swin_tiny.pt"),
        r"teacher weights swin_tiny\.pt: cannot embed 2 images of 100x100",
        here,
    )
