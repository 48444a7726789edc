"""What the benchmark times is what a run does."""

import pytest
import torch

from insightface_cakd.errors import RunError, TapError, TeacherError
from insightface_cakd.experiments.cost import steps as module
from insightface_cakd.experiments.cost.steps import ALONE, ANCHOR, DISTILLATION, FORWARD, LEARNING, timed_runs
from insightface_cakd.recipe import load_recipe, parse_recipe, recipe_name, shipped_recipes
from insightface_cakd.teachers import PromptedTeacher
from tests.small_networks import with_small_networks

CPU = torch.device("cpu")
PROMPTS = {"network": "vit_tiny", "prompts": {"tokens": 2}}


def runs_of(recipe, batch=2, student="cnn_tiny", precision="fp32"):
    return timed_runs(recipe, student, batch, CPU, precision)


@pytest.fixture
def built(monkeypatch):
    """The networks of the benchmark in the order in which they are built: teacher, student alone, distilled student."""
    networks = []
    get_model = module.get_model

    def remembered(name, **kwargs):
        networks.append(get_model(name, **kwargs))
        return networks[-1]

    monkeypatch.setattr(module, "get_model", remembered)
    return networks


@pytest.mark.parametrize("recipe", list(map(recipe_name, shipped_recipes())))
def test_every_shipped_recipe_can_be_timed_with_a_network_as_its_teacher(recipe):
    loaded, student = with_small_networks(recipe)
    for run in runs_of(loaded, student=student).values():
        run()


def test_several_teachers_are_timed_together():
    loaded = load_recipe("dtda", ["teachers.perceptual.network=vit_tiny"])
    answers = runs_of(loaded, batch=3)[FORWARD]()
    assert [tuple(answer.shape) for answer in answers] == [(3, 512), (3, 128)]


@pytest.mark.parametrize("reading", ["uniform", "true"])
def test_the_domain_attack_is_timed_with_two_domains(reading):
    content = {"teacher": {"network": "vit_tiny"}, "task": {"kind": "liveness", "attack": reading}}
    recipe = parse_recipe({**content, "losses": [{"loss": "cosine", "weight": 1}]}, "recipe")
    for run in runs_of(recipe).values():
        run()


def test_a_recipe_without_prompts_needs_the_teachers_forward_only():
    assert list(runs_of(load_recipe("urfm"))) == [ALONE, FORWARD, DISTILLATION]


def test_prompts_need_a_backward_and_their_anchors_a_plain_forward():
    assert list(runs_of(load_recipe("cakd"))) == [ALONE, LEARNING, ANCHOR, DISTILLATION]


def test_prompts_without_an_anchor_need_no_plain_forward():
    urfm = {"student": "layer4", "centres": 4, "width": 8, "heads": 2, "stop_gradient": "none"}
    content = {"teacher": PROMPTS, "urfm": urfm, "losses": [{"loss": "urfm_feature", "weight": 1}]}
    assert list(runs_of(parse_recipe(content, "recipe"))) == [ALONE, LEARNING, DISTILLATION]


def test_remembered_embeddings_are_looked_up_and_not_computed(monkeypatch):
    recipe = load_recipe("cakd")
    recipe.teacher.prompts.plain = "a cache that the benchmark need not have"
    runs = runs_of(recipe, batch=3)
    monkeypatch.setattr(PromptedTeacher, "_embed", lambda *given: pytest.fail("the network was run"))
    assert runs[ANCHOR]().shape == (3, 512)


def test_the_plain_forward_runs_as_often_as_a_step_needs_it(monkeypatch):
    """What stands in the anchors' line is what the step does: one forward without prompts."""
    calls = []
    plain = PromptedTeacher.plain
    monkeypatch.setattr(PromptedTeacher, "plain", lambda *given: calls.append(1) or plain(*given))
    runs = runs_of(load_recipe("cakd"))
    for kind, count in ((ALONE, 0), (LEARNING, 0), (ANCHOR, 1), (DISTILLATION, 1)):
        calls.clear()
        runs[kind]()
        assert len(calls) == count, kind


@pytest.mark.parametrize("recipe", ["cosine", "cakd"])
def test_a_timed_step_is_a_training_step_and_the_teacher_stays_as_it_is(recipe, built):
    runs = runs_of(load_recipe(recipe), batch=4)
    before = [weights(network) for network in built]
    for run in runs.values():
        run()
    teacher, alone, distilled = (
        torch.equal(then, weights(network)) for then, network in zip(before, built, strict=True)
    )
    assert (teacher, alone, distilled) == (True, False, False)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in built[0].parameters())


def test_the_teachers_backward_reaches_every_prompt_and_adds_to_no_gradient(monkeypatch):
    teachers = []
    learn = module._learn
    monkeypatch.setattr(module, "_learn", lambda teacher, images: teachers.append(teacher) or learn(teacher, images))
    gradients = runs_of(load_recipe("cakd"))[LEARNING]()
    prompts = list(teachers[0].prompts.parameters())
    assert [gradient.shape for gradient in gradients] == [prompt.shape for prompt in prompts]
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert all(prompt.grad is None for prompt in prompts)


def test_the_student_can_compute_in_bfloat16():
    runs = runs_of(load_recipe("cakd"), precision="bf16")
    for run in runs.values():
        run()


def test_float16_is_refused_off_cuda():
    with pytest.raises(RunError, match=r"^bench: --training-precision fp16 on cpu; .* Use fp32 or bf16\.$"):
        runs_of(load_recipe("cosine"), precision="fp16")


@pytest.mark.parametrize(
    ("recipe", "teacher", "message"),
    [
        ("cakd", "cnn_tiny", r"has no tokens that prompts could join"),
        ("cakd", "onnx", r"teacher onnx: cannot learn prompts, no gradient passes through an ONNX graph"),
        ("onnx", "onnx", r"teacher onnx: nothing to time without its file; .* Pass --teacher NETWORK"),
        ("cached", "cached", r"teacher cached: nothing to time without its file"),
        ("cosine", "vit_tinny", r"teacher\.network vit_tinny: the host has no such network .*'vit_tiny'"),
    ],
)
def test_a_teacher_that_cannot_be_timed(recipe, teacher, message):
    loaded = load_recipe(recipe)
    loaded.teacher.network = teacher
    with pytest.raises(TeacherError, match=message):
        runs_of(loaded)


def test_a_recipe_whose_tap_the_student_does_not_have():
    with pytest.raises(TapError, match="layer4"):
        runs_of(load_recipe("urfm"), student="mbf")


def weights(network):
    return torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])
