"""build_teacher with prompts: from every kind of network, or one line why not."""

import pytest
import torch

from insightface_cakd.data.embedding_cache import write_cache
from insightface_cakd.errors import TeacherError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.timm_networks import create_timm
from insightface_cakd.teachers import PromptedTeacher, TeacherSpec, build_teacher
from insightface_cakd.teachers.prompts import PromptSpec
from tests.teachers.faces import TinyFace, as_input, faces

PROMPTS = PromptSpec(tokens=2)


def build(network, weights=None, **content):
    spec = TeacherSpec(network=network, weights=weights and str(weights), prompts=PROMPTS, **content)
    return build_teacher(spec, get_model, "cpu")


def saved(network, path):
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "tokens", "sets"),
    [("vit_tiny", (2, 51, 128), 4), ("swin_tiny", (2, 51, 128), 3), ("timm:vit_tiny_patch16_224", (2, 51, 192), 4)],
)
def test_a_network_trained_on_the_embedded_host(tmp_path, name, tokens, sets):
    network = get_model(name, num_features=24).eval()
    teacher = build(name, saved(network, tmp_path / "model.pt"))
    images = as_input(faces(2))
    embeddings = teacher(images)
    assert isinstance(teacher, PromptedTeacher)
    assert (teacher.name, teacher.embedding_size, len(teacher.prompts.sets)) == (name, 24, sets)
    assert teacher.tokens.shape == tokens
    assert embeddings.requires_grad
    torch.testing.assert_close(teacher.plain(images), network(images).detach())


def test_timms_own_checkpoints_keep_timms_classifier(tmp_path):
    network = create_timm("vit_tiny_patch16_224", 112, TeacherError, num_classes=32).eval()
    teacher = build("timm:vit_tiny_patch16_224", saved(network, tmp_path / "model.pt"))
    images = as_input(faces(2))
    torch.testing.assert_close(teacher.plain(images), network(images).detach())


def test_a_users_own_transformer_by_its_structure():
    teacher = build("insightface_cakd.hosts.embedded.backbones.tiny:TinyViT", embedding_size=16)
    assert teacher.grid.count == 51


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ("onnx", r"no gradient passes through an ONNX graph; .*the torch network that the file was exported from"),
        (
            "torchscript",
            r"the modules of a TorchScript graph are closed; .*the torch network that the file was made from",
        ),
        ("cached", r"its embeddings were written beforehand; .*the network that wrote the cache"),
    ],
)
def test_what_cannot_learn_is_refused_before_anything_is_read(network, line):
    with pytest.raises(TeacherError, match=rf"teacher {network}: cannot learn prompts, {line}") as caught:
        build(network, "no such file")
    assert "Remove teacher.prompts" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cnn_tiny", "mbf", "timm:resnet10t", "tests.teachers.faces:TinyFace"])
def test_a_cnn_has_no_tokens(tmp_path, name):
    network = TinyFace() if name.endswith("TinyFace") else get_model(name, num_features=16)
    with pytest.raises(TeacherError, match=rf"teacher {name}: .* has no tokens that prompts could join; expected"):
        build(name, saved(network, tmp_path / "model.pt"))


def test_transformers_of_other_kinds_are_refused(tmp_path):
    network = create_timm("swinv2_cr_tiny_ns_224", 224, TeacherError, num_classes=16)
    path = saved(network, tmp_path / "model.pt")
    with pytest.raises(TeacherError, match=r"SwinTransformerV2Cr has no tokens that prompts could join"):
        build("timm:swinv2_cr_tiny_ns_224", path, input_size=224)


def test_building_draws_no_random_number(tmp_path):
    path = saved(get_model("vit_tiny", num_features=16), tmp_path / "model.pt")
    state = torch.get_rng_state()
    build("vit_tiny", path)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def remembering(tmp_path):
    """A teacher that looks its plain embeddings up, and its recipe."""
    path = saved(get_model("vit_tiny", num_features=24), tmp_path / "model.pt")
    live = build_teacher(TeacherSpec(network="vit_tiny", weights=str(path)), get_model, "cpu")
    write_cache(live, [faces(3)], tmp_path / "cache")
    prompts = PromptSpec(tokens=2, plain=str(tmp_path / "cache"))
    spec = TeacherSpec(network="vit_tiny", weights=str(path), prompts=prompts)
    return build_teacher(spec, get_model, "cpu"), live, spec


def test_plain_embeddings_may_be_remembered(remembering, monkeypatch):
    """They are the network's own up to float16, whatever the prompts are, and cost no forward."""
    teacher, live, _ = remembering
    images = as_input(faces(3)).flip(-1)[[2, 0]]
    with torch.no_grad():
        teacher.prompts.sets[0].add_(1)
    expected = live(images)
    monkeypatch.setattr(teacher, "_embed", lambda *given: pytest.fail("the network was run"))
    torch.testing.assert_close(teacher.plain(images), expected, rtol=1e-3, atol=1e-3)


def test_an_image_that_is_not_remembered(remembering):
    with pytest.raises(TeacherError, match=r"1 of 2 images of the batch are not among its 6"):
        remembering[0].plain(torch.cat([as_input(faces(1)), as_input(faces(1, seed=9))]))


def test_what_another_teacher_said_is_refused(remembering, tmp_path):
    spec = remembering[2]
    spec.weights = str(saved(get_model("vit_tiny", num_features=24), tmp_path / "other.pt"))
    message = (
        r"teacher\.prompts\.plain .*: written by vit_tiny \(sha256 \w+, width 24, rgb, mean 0\.5, std 0\.5\); "
        r"expected this teacher \(sha256 \w+, width 24, rgb, mean 0\.5, std 0\.5\)"
    )
    with pytest.raises(TeacherError, match=message):
        build_teacher(spec, get_model, "cpu")


def test_a_memory_that_is_not_there(remembering, tmp_path):
    spec = remembering[2]
    spec.prompts.plain = str(tmp_path / "nowhere")
    with pytest.raises(TeacherError, match=r"nowhere: has no meta\.json; .* Correct its path"):
        build_teacher(spec, get_model, "cpu")


def test_a_teacher_that_remembers_is_measured_by_the_network_itself(remembering):
    teacher, live, _ = remembering
    others = as_input(faces(2, seed=9))
    torch.testing.assert_close(teacher.computed(others), live(others), rtol=1e-4, atol=1e-4)
