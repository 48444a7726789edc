"""What is wrong with a recipe is one line, before a teacher is loaded or an output folder made."""

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, refused, train, write_recipe
from tests.networks.onnx_models import channel_means

MAP = {"loss": "fitnet", "weight": 1, "student": "layer4", "teacher": "norm"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with the weights of an untrained teacher."""
    monkeypatch.chdir(tmp_path)
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "teacher.pt")
    return tmp_path


def refused_in_every_command(data, message, here):
    """A recipe is checked alone, by a run, and by the command that only needs its teacher."""
    commands = (
        ["recipes", "check", "own.yaml"],
        train(data, "--distill", "own.yaml", "--teacher", "teacher.pt"),
        ["data", "cache-teacher", "own.yaml", data, "cache", "--teacher", "teacher.pt"],
    )
    assert len({refused(command, message, here) for command in commands}) == 1


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"loss": "cosin", "weight": 1}, r"recipe own\.yaml: losses\[0\]\.loss is 'cosin'; known losses: .*'cosine'\?"),
        ({"loss": "kd", "weight": 1, "temprature": 2}, r"recipe own\.yaml: losses\[0\]\.temprature .* 'temperature'\?"),
        (
            {"loss": "kd", "weight": 1, "temperature": 0},
            r"recipe own\.yaml: losses\[0\]: kd: temperature is 0; expected a positive number",
        ),
        (
            {"loss": "kd", "weight": 1, "temperature": "hot"},
            r"recipe own\.yaml: losses\[0\]: kd: temperature is .hot.; expected a positive",
        ),
        ({"loss": "cosine"}, r"recipe own\.yaml: losses\[0\]\.weight is missing"),
        ({"loss": "cosine", "weight": "64"}, r"recipe own\.yaml: losses\[0\]\.weight is '64'; .*number"),
        ({"weight": 1}, r"recipe own\.yaml: losses\[0\] is .*; expected keys and values, `loss` among them"),
        ({"loss": ["cosine"], "weight": 1}, r"recipe own\.yaml: losses\[0\]\.loss is '\['cosine'\]'; known losses"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_term_that_is_not_known(term, message, here, face_set):
    write_recipe(here / "own.yaml", term)
    refused_in_every_command(face_set, message, here)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"teacher: [unclosed", r"recipe own\.yaml: not YAML \(.*\); expected keys and values"),
        (b"a: b: c", r"recipe own\.yaml: not YAML"),
        (b"teacher: {network: r50}\n\tlosses: []", r"recipe own\.yaml: not YAML"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", r"recipe own\.yaml: cannot be read \(UnicodeDecodeError"),
        (b"", r"recipe own\.yaml: holds a NoneType; expected the keys teacher and losses"),
        (b"- cosine", r"recipe own\.yaml: holds a list; expected the keys"),
        (b"teacher: !!python/object/apply:os.mkdir [ran]", r"recipe own\.yaml: not YAML"),
        (b"teacher: r50\nlosses: [{loss: cosine, weight: 1}]", r"recipe own\.yaml: teacher is 'r50'"),
        (b"teacher: {network: r50}\nlosses: {loss: cosine}", r"recipe own\.yaml: losses is .*list"),
        (b"teacher: {network: r50}\nloses: []", r"recipe own\.yaml: loses is not a key; .*Did you mean .losses."),
        (b"1: 2", r"recipe own\.yaml: "),
    ],
)
def test_a_file_that_is_no_recipe(content, message, here, face_set):
    (here / "own.yaml").write_bytes(content)
    refused_in_every_command(face_set, message, here)


def test_a_recipe_that_is_not_there_and_a_folder_in_its_place(here, face_set):
    refused_in_every_command(face_set, r"recipe own\.yaml: no such file, .* shipped: .*cosine", here)
    (here / "own.yaml").mkdir()
    refused_in_every_command(face_set, r"recipe own\.yaml: ", here)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (MAP | {"student": "layer5"}, r"tap 'layer5': module not found in \w+; expected .* Did you mean 'layer4'\?"),
        (MAP | {"teacher": "block.3"}, r"tap 'block\.3': module not found in \w+; .* Did you mean 'blocks\.3'\?"),
        (MAP, r"term 'fitnet': student \(128, 7, 7\) vs teacher \(\d+, \d+\); .* Set projector: map_to_tokens\."),
        (
            MAP | {"projector": "conv1x1"},
            r"term 'fitnet': projector conv1x1 takes a map .* Set projector: map_to_tokens",
        ),
        (MAP | {"projector": "map_to_token"}, r"term 'fitnet': projector 'map_to_token' .*'map_to_tokens'\?"),
        ({"loss": "kd", "weight": 1}, r"recipe: a logits term needs the teacher's class centres, .*--centres FILE"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_a_term_that_does_not_fit_the_networks(term, message, here, face_set):
    write_recipe(here / "own.yaml", term)
    refused(train(face_set, "--distill", "own.yaml", "--teacher", "teacher.pt"), message, here)


def test_embeddings_of_two_widths_need_a_projector(here, face_set):
    """And with the projector that the line names, the run goes on."""
    run = train(face_set, "--distill", "own.yaml", "--teacher", "teacher.pt", embedding_size=32)
    write_recipe(here / "own.yaml")
    line = refused(run, r"term 'cosine': student \(32,\) vs teacher \(64,\); expected equal shapes", here)
    assert line.endswith("Set projector: linear.")
    write_recipe(here / "own.yaml", {"loss": "cosine", "weight": 64, "projector": "linear"})
    assert cakd(*run).code == 0


def test_an_onnx_teacher_has_no_modules_to_tap(here, face_set):
    channel_means(here / "means.onnx")
    write_recipe(here / "own.yaml", MAP, network="onnx")
    message = r"teacher tap 'norm': teacher means\.onnx gives embeddings only.* use a torch teacher"
    refused(train(face_set, "--distill", "own.yaml", "--teacher", "means.onnx"), message, here)


@pytest.mark.parametrize(
    ("centres", "message"),
    [
        (
            {"weight": torch.eye(12, 64)[:5]},
            r"teacher centres \(5, 64\) do not fit .* reaches class 12; expected one row",
        ),
        ({"weight": torch.eye(12, 32)}, r"teacher centres \(12, 32\) do not fit a teacher of width 64"),
        ({"bias": torch.zeros(12)}, r"teacher\.centres\[0\] head\.pt: holds bias; expected `weight`"),
    ],
    ids=["too few classes", "another width", "no head"],
)
def test_centres_of_another_head(centres, message, here, face_set):
    torch.save(centres, here / "head.pt")
    write_recipe(here / "own.yaml", {"loss": "kd", "weight": 1})
    run = train(face_set, "--distill", "own.yaml", "--teacher", "teacher.pt", "--centres", "head.pt")
    refused(run, message, here)
