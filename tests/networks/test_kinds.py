"""Torch networks that can teach: the host's, timm's, a user's own, TorchScript."""

import pytest
import torch

from insightface_cakd.errors import TeacherError
from insightface_cakd.networks.kinds import host_network, own_network, torchscript_network
from insightface_cakd.networks.timm_networks import create_timm
from tests.teachers.faces import TinyFace, get_model

CPU = torch.device("cpu")
HERE = "tests.teachers.faces"


def test_the_host_is_asked_the_way_its_training_loop_asks():
    asked = []

    def recorder(name, **kwargs):
        asked.append((name, kwargs))
        return TinyFace()

    host_network("r50", 512, recorder, CPU)
    assert asked == [("r50", {"num_features": 512, "fp16": False, "dropout": 0.0})]


@pytest.mark.parametrize("error", [ValueError(), TeacherError("known: r18.")])
def test_a_name_that_the_host_does_not_know_is_one_line(error):
    def refuse(name, **kwargs):
        raise error

    with pytest.raises(TeacherError, match=r"teacher.network r5: the host has no such network.*timm:NAME"):
        host_network("r5", 512, refuse, CPU)


def test_a_timm_cnn_gets_the_embedding_as_its_classifier():
    network = create_timm("resnet10t", 112, TeacherError, num_classes=48).eval()
    assert network(torch.zeros(1, 3, 112, 112)).shape == (1, 48)
    assert network.get_classifier().out_features == 48


def test_a_timm_transformer_is_built_for_the_size_of_the_images():
    network = create_timm("vit_tiny_patch16_224", 112, TeacherError, num_classes=32)
    assert network.pos_embed.shape[1] == 7 * 7 + 1
    assert network.eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 32)


def test_an_unknown_timm_name_is_answered_with_the_nearest():
    with pytest.raises(TeacherError, match=r"timm:resnet5O: timm .* has no such network.*Did you mean 'resnet50'\?"):
        create_timm("resnet5O", 112, TeacherError, num_classes=32)


def test_a_size_that_timm_cannot_build_points_at_input_size():
    with pytest.raises(TeacherError, match=r"timm:nest_tiny: cannot be built for 100x100 .*Set teacher.input_size"):
        create_timm("nest_tiny", 100, TeacherError, num_classes=32)


def test_a_callable_of_the_users_own_is_called_with_the_width_if_it_takes_one():
    assert own_network(f"{HERE}:TinyFace", 24).fc.out_features == 24
    assert own_network(f"{HERE}:TinyFace", None).fc.out_features == 8
    assert own_network(f"{HERE}:trained", 24).fc.out_features == 8


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("no_such_package:net", r"cannot import no_such_package .*Install the package"),
        (":net", r"expected a callable as package.module:Name"),
        (f"{HERE}:TinyFaces", r"tests.teachers.faces has no TinyFaces; .*Did you mean 'TinyFace'\?"),
        (f"{HERE}:WIDTH", r"is a int; expected a callable that builds the network"),
        (f"{HERE}:faces", r"returned a Tensor; expected a torch.nn.Module"),
    ],
)
def test_a_callable_that_cannot_be_used_is_one_line(target, line):
    with pytest.raises(TeacherError, match=rf"teacher.network (is ')?{target}'?[:;] {line}"):
        own_network(target, None)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_broken_torchscript_file_is_one_line(tmp_path, content):
    path = tmp_path / "model.ts"
    if content is None:
        torch.save(get_model("tiny").state_dict(), path)
    else:
        path.write_bytes(content)
    with pytest.raises(TeacherError, match=r"teacher weights x: cannot be read .*no TorchScript") as caught:
        torchscript_network(path, CPU, "teacher weights x")
    assert "\n" not in str(caught.value)
