"""arcface_torch's own ViT, from a checkout, takes the same prompts as the embedded host's."""

import importlib
import sys

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.teachers.prompts import PromptedTeacher, PromptSpec
from tests.teachers.faces import as_input, faces

pytestmark = [pytest.mark.upstream, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.fixture
def theirs(arcface_torch, monkeypatch):
    monkeypatch.syspath_prepend(str(arcface_torch))
    before = set(sys.modules)
    yield importlib.import_module("backbones").get_model
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "backbones":
            del sys.modules[name]


@pytest.mark.parametrize("name", ["vit_t", pytest.param("vit_b", marks=pytest.mark.slow)])
def test_the_checkouts_vit_says_what_ours_says(theirs, name):
    # Drawn weights differ in how many ReLU6 inputs lie within rounding of a kink, where the two sides' gradients part.
    torch.manual_seed(0)
    spec = PromptSpec(tokens=3, checkpoint=True)
    ours = get_model(name, num_features=64)
    other = theirs(name, num_features=64, fp16=False)
    other.load_state_dict(ours.state_dict())
    teachers = [PromptedTeacher(network, name, 64, "cpu", spec) for network in (ours, other)]
    embeddings = [teacher(as_input(faces(2))) for teacher in teachers]
    torch.testing.assert_close(embeddings[0], embeddings[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(teachers[0].tokens, teachers[1].tokens, rtol=1e-4, atol=1e-4)
    for teacher, embedding in zip(teachers, embeddings, strict=True):
        embedding.square().sum().backward()
        assert all(weight.grad is None for weight in teacher.embedder.parameters())
    for mine, yours in zip(*(teacher.prompts.sets for teacher in teachers), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-3, atol=1e-3 * mine.grad.abs().max().item())
