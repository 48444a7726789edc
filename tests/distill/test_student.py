"""The wrapped student: two faces (train, eval), a plain state, a teacher nobody sees."""

import pytest
import torch

from insightface_cakd.distill.sources import build_sources
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import ShapeError, TapError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.teachers.base import Teacher

EMBEDDING = {"loss": "cosine", "weight": 1}
TOKENS = {"loss": "fitnet", "weight": 1, "student": "layer4", "teacher": "norm", "projector": "map_to_tokens"}


def distilled(width, taught, *content):
    recipe = parse_recipe({"teacher": {"network": "vit_tiny"}, "losses": list(content)}, "recipe")
    teachers = {"teacher": taught}
    return DistilledStudent(get_model("cnn_tiny", num_features=width), teachers, build_sources(recipe, teachers))


def teacher(width=64):
    return Teacher.of_network(get_model("vit_tiny", num_features=width), "vit_tiny", width, torch.device("cpu"))


def student(*content, width=64):
    return distilled(width, teacher(), *content)


def test_in_train_mode_it_returns_a_plain_tuple_of_tensor_and_dict():
    outputs = student(EMBEDDING, TOKENS).train()(torch.rand(4, 3, 112, 112))
    assert type(outputs) is tuple
    embedding, features = outputs
    assert embedding.shape == (4, 64)
    assert type(features) is dict
    assert set(features) == {"student.embedding", "teacher.embedding", "fitnet.student", "teacher.norm"}
    assert features["fitnet.student"].shape == features["teacher.norm"].shape


def test_terms_that_read_the_same_tensor_share_it_so_that_ddp_never_sees_it_twice():
    relation = {"loss": "rkd_distance", "weight": 1}
    tapped = [{**TOKENS, "name": name} for name in ("a", "b")]
    _, features = student(EMBEDDING, relation, *tapped).train()(torch.rand(4, 3, 112, 112))
    assert set(features) == {"student.embedding", "teacher.embedding", "a.student", "b.student", "teacher.norm"}
    assert len({id(tensor) for tensor in features.values()}) == len(features)


def test_in_eval_mode_it_returns_the_embedding_and_runs_no_teacher():
    module = student(EMBEDDING).eval()
    calls = []
    module.teacher.network.register_forward_hook(lambda *_: calls.append(1))
    assert module(torch.rand(2, 3, 112, 112)).shape == (2, 64)
    assert not calls


def test_its_state_is_the_bare_backbones_and_loads_strictly():
    module = student(EMBEDDING, TOKENS)
    plain = get_model("cnn_tiny", num_features=64)
    plain.load_state_dict(module.state_dict(), strict=True)
    module.load_state_dict(plain.state_dict())
    assert list(module.state_dict()) == list(plain.state_dict())


def test_its_parameters_are_the_students_first_then_the_projectors_never_the_teachers():
    module = student(EMBEDDING, TOKENS)
    parameters = list(module.parameters())
    backbone = list(module.backbone.parameters())
    assert all(a is b for a, b in zip(parameters, backbone, strict=False))
    assert len(parameters) == len(backbone) + len(list(module.method["projectors"].parameters())) > len(backbone)
    teachers = {id(parameter) for parameter in module.teacher.parameters()}
    assert not teachers & {id(parameter) for parameter in parameters}


def test_train_leaves_the_teacher_in_eval():
    module = student(EMBEDDING).train()
    assert module.training
    assert not any(part.training for part in module.teacher.modules())


def test_the_gradients_of_margin_and_terms_are_told_apart_at_the_embedding():
    module = student(EMBEDDING).train()
    module.measures_gradients = True
    embedding, features = module(torch.rand(4, 3, 112, 112))
    (3 * embedding.sum() + 2 * features["student.embedding"].sum()).backward()
    assert module.gradients.margin == pytest.approx(9 * 4 * 64)
    assert module.gradients.distillation == pytest.approx(4 * 4 * 64)


def test_a_tap_that_does_not_exist_names_the_nearest():
    with pytest.raises(TapError, match=r"layer44.*layer4"):
        student({**TOKENS, "student": "layer44"})


def test_shapes_that_do_not_fit_name_both_and_the_way_out():
    with pytest.raises(ShapeError, match=r"term 'fitnet'.*projector"):
        student({key: value for key, value in TOKENS.items() if key != "projector"})
    with pytest.raises(ShapeError, match=r"term 'cosine'.*32.*64.*projector"):
        student(EMBEDDING, width=32)


def test_a_linear_projector_joins_embeddings_of_different_width():
    module = student({**EMBEDDING, "projector": "linear"}, width=32).train()
    embedding, features = module(torch.rand(4, 3, 112, 112))
    assert embedding.shape == (4, 32)
    assert features["cosine.student"].shape == (4, 64)


def test_a_teacher_without_modules_cannot_be_tapped():
    deaf = Teacher(get_model("vit_tiny", num_features=64), "onnx", 64, "cpu", tappable=False)
    with pytest.raises(TapError, match="gives embeddings only"):
        distilled(64, deaf, TOKENS)
