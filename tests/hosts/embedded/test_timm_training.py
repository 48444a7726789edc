"""A Transformer of timm is trained like any network of the host, and then teaches."""

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.train_v2 import main
from insightface_cakd.teachers import TeacherSpec, build_teacher
from insightface_cakd.teachers.prompts import PromptSpec
from tests.hosts.embedded.jobs import small_job
from tests.teachers.faces import as_input, faces


@pytest.mark.parametrize("network", ["swin_tiny", "timm:vit_tiny_patch16_224"])
def test_a_transformer_of_timm_trains_and_its_weights_load_as_a_teacher(face_set, tmp_path, network):
    changes = {"network": network, "optimizer": "adamw", "lr": 1e-3, "num_epoch": 1, "val_targets": []}
    cfg = small_job(face_set, tmp_path / "run", **changes)
    result = main(cfg)
    assert result.steps == 4
    weights = tmp_path / "run" / "model.pt"
    spec = TeacherSpec(network=network, weights=str(weights), prompts=PromptSpec(tokens=2))
    teacher = build_teacher(spec, get_model, "cpu")
    trained = get_model(network, num_features=32).eval()
    trained.load_state_dict(torch.load(weights, weights_only=True))
    images = as_input(faces(2))
    with torch.no_grad():
        torch.testing.assert_close(teacher.plain(images), trained(images))
    assert teacher(images).requires_grad
