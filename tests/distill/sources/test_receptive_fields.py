"""Fields of several pairs of taps: a term is the mean over the pairs, each with a mapping that is its own."""

import numpy as np
import pytest
import torch

from insightface_cakd.distill.sources import build_sources
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.distill.urfm import URFM, TokenGrid, as_tokens
from insightface_cakd.errors import RecipeError, ShapeError, TapError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.teachers import PromptedTeacher, Teacher
from insightface_cakd.teachers.prompts import PromptSpec
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.toy import WIDTH, Toy, of_ranks, toy_batch, toy_teachers

SIZE = {"centres": 4, "width": 8, "heads": 2}
CONV, ACT = ({"student": tap, "teacher": tap} for tap in ("conv", "act"))
FINE, COARSE = ({"student": tap, "teacher": tap} for tap in ("layer3", "layer4"))
TERMS = {"urfm_attention": "attention", "urfm_feature": "fields", "urfm_anchor": "anchor"}
CLASSES = 11
PLACES = ("urfm", "urfm.more[0]")


def taught(network, teachers, *pairs, losses=tuple(TERMS), **values):
    """Return a student with fields of these pairs, and the step of its terms."""
    first, *more = pairs
    terms = [{"loss": name, "weight": 2} if isinstance(name, str) else name for name in losses]
    content = {"teacher": {"network": "toy"}, "urfm": {**SIZE, **first, "more": more, **values}, "losses": terms}
    recipe = parse_recipe(content, "recipe")
    sources = build_sources(recipe, teachers)
    torch.manual_seed(0)
    return DistilledStudent(network, teachers, sources).train(), DistillationStep(recipe.losses, sources)


def toy(*pairs, **values):
    torch.manual_seed(7)
    return taught(Toy(WIDTH), toy_teachers(), *pairs, **values)


def cnn(*pairs, **values):
    """Return the same of layers whose grids differ, 14x14 and 7x7."""
    torch.manual_seed(7)
    network, teacher = (get_model("cnn_tiny", num_features=WIDTH) for _ in range(2))
    return taught(network, {"teacher": Teacher.of_network(teacher, "cnn_tiny", WIDTH, "cpu")}, *pairs, **values)


def mappings(student):
    first = student.method["urfm"]
    return [first, *first.more]


def without_others(mapping):
    """Return the state of one pair's mapping."""
    return {key: value for key, value in mapping.state_dict().items() if not key.startswith("more.")}


def step_of(student, step, images):
    """Return each term's value and every gradient of the student's own parameters, 0 where there is none."""
    student.zero_grad()
    _, features = student(images)
    step(features, torch.zeros(len(images), dtype=torch.int64)).backward()
    own = student.backbone.named_parameters()
    gradients = {name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone() for name, weight in own}
    return features, step.raw, gradients


def by_numpy(features, kind):
    """Return a term of one pair from its own features, by NumPy in float64."""
    ours, theirs = (features[f"urfm.{side}.{kind}"].detach().double().numpy() for side in ("student", "teacher"))
    if kind != "anchor":
        return np.mean((ours - theirs) ** 2)
    return np.mean([1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(ours, theirs, strict=True)])


@pytest.mark.parametrize(
    ("build", "pairs", "values", "grids"),
    [
        (toy, (CONV, ACT), {}, ["7x7", "7x7"]),
        (toy, (CONV, ACT), {"stop_gradient": "none", "attention": "urfm"}, ["7x7", "7x7"]),
        (cnn, (COARSE, FINE), {"attention": "urfm"}, ["7x7", "14x14"]),
    ],
    ids=["msa", "no stop", "maps of different sizes"],
)
def test_a_term_and_its_gradient_are_the_mean_of_those_of_each_pair_alone(build, pairs, values, grids):
    images, _ = toy_batch(CLASSES)
    both, step = build(*pairs, **values)
    assert [str(mapping.grids["student"]) for mapping in mappings(both)] == grids
    alone = []
    for mapping, pair in zip(mappings(both), pairs, strict=True):
        one, its_step = build(pair, **values)
        one.method["urfm"].load_state_dict(without_others(mapping))
        alone.append(step_of(one, its_step, images))
    _, raw, gradients = step_of(both, step, images)
    for name, kind in TERMS.items():
        expected = [by_numpy(features, kind) for features, _, _ in alone]
        assert abs(expected[0] - expected[1]) > 1e-6, "the pairs differ"
        assert float(raw[name]) == pytest.approx(np.mean(expected), rel=1e-5)
    for name, gradient in gradients.items():
        assert_equal_up_to_rounding(gradient, (alone[0][2][name] + alone[1][2][name]) / 2, name)


def test_the_gradient_reaches_both_layers_of_the_student():
    student, _ = cnn(COARSE, FINE)
    for place, pair in zip(PLACES, (COARSE, FINE), strict=True):
        _, features = student(toy_batch(CLASSES)[0])
        loss = (features[f"{place}.student.fields"] - features[f"{place}.teacher.fields"]).square().mean()
        loss.backward()
        layer = student.backbone.get_submodule(pair["student"])
        assert all(weight.grad.abs().max() > 0 for weight in layer.parameters()), place
        student.zero_grad()


def test_the_anchor_trains_every_pairs_mapping():
    student, step = toy(CONV, ACT, losses=["urfm_anchor"])
    step_of(student, step, toy_batch(CLASSES)[0])
    for mapping in mappings(student):
        for name, weight in mapping.named_parameters():
            if not name.startswith("more.") and ".student." not in name:
                assert weight.grad is not None, name
        assert mapping.readout.weight.grad.abs().max() > 0
        assert mapping.local.parts["query"]["shared"].centres.grad.abs().max() > 0


def test_without_further_pairs_everything_is_as_with_the_mapping_alone():
    student, step = toy(CONV)
    drawn = torch.get_rng_state()
    torch.manual_seed(0)
    mapping = URFM(student.sources[1].spec, TokenGrid(7, 7), TokenGrid(7, 7), 4, 6, WIDTH)
    assert torch.equal(torch.get_rng_state(), drawn), "as many numbers are drawn"
    state, expected = student.method["urfm"].state_dict(), mapping.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(value, expected[key]) for key, value in state.items())
    images, _ = toy_batch(CLASSES)
    context = student.observe(images)
    tokens = [as_tokens(seen.taps["conv"])[0] for seen in (context.student, context.teachers["teacher"])]
    outputs = mapping(*tokens, embedding=context.teachers["teacher"].embedding)
    features, raw, _ = step_of(student, step, images)
    assert {key for key in features if key.startswith("urfm.")} == {f"urfm.{key}" for key in outputs}
    assert all(torch.equal(features[f"urfm.{key}"], value) for key, value in outputs.items())
    for name, kind in TERMS.items():
        assert torch.equal(raw[name], LOSSES[name]()(outputs[f"student.{kind}"], outputs[f"teacher.{kind}"]))


def test_the_first_pairs_weights_do_not_depend_on_the_others():
    alone, both = toy(CONV)[0].method["urfm"].state_dict(), toy(CONV, ACT)[0]
    first, second = mappings(both)
    assert without_others(first).keys() == alone.keys()
    assert all(torch.equal(first.state_dict()[key], value) for key, value in alone.items())
    assert not torch.equal(first.readout.embedding.weight, second.readout.embedding.weight)


def test_a_teachers_prompts_learn_from_a_further_pair():
    torch.manual_seed(7)
    teacher = PromptedTeacher(get_model("vit_tiny", num_features=WIDTH), "vit_tiny", WIDTH, "cpu", PromptSpec(tokens=2))
    network = get_model("cnn_tiny", num_features=WIDTH)
    inner = {"student": "layer3", "teacher": "blocks.1"}
    student, _ = taught(network, {"teacher": teacher}, {"student": "layer4"}, inner)
    assert [str(mapping.grids["teacher"]) for mapping in mappings(student)] == ["7x7 + 2", "7x7"]
    _, features = student(toy_batch(CLASSES)[0])
    loss = (features["urfm.more[0].student.fields"] - features["urfm.more[0].teacher.fields"]).square().mean()
    (gradient,) = torch.autograd.grad(loss, [student.method["prompts"].sets[0]])
    assert gradient.abs().max() > 0


def gradients():
    student, step = toy(CONV, ACT)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    wrapped = of_ranks(student)
    _, features = wrapped(images)
    step(features, labels).backward()
    return {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_does():
    expected = gradients()
    assert float(expected["method.urfm.more.0.readout.weight"].abs().max()) > 0
    for found in run_ranks(gradients, 2):
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"student": "conw", "teacher": "act"}, TapError, r"tap 'conw': module not found in Toy; .*Did you mean 'conv'"),
        ({"student": "act", "teacher": "acd"}, TapError, r"tap 'acd': module not found in Toy; .*Did you mean 'act'"),
        ({"student": "head", "teacher": "act"}, ShapeError, r"urfm\.more\[0\]\.student: activation \(1, 16\) has no grid"),
    ],
    ids=["student", "teacher", "grid"],
)  # fmt: skip
def test_a_further_pair_that_cannot_be(more, error, message):
    with pytest.raises(error, match=message):
        toy(CONV, more)


def test_a_loss_that_remembers_batches_is_refused():
    term = {"loss": "ekd", "weight": 1, "reads": "urfm_anchor"}
    with pytest.raises(
        RecipeError, match=r"term 'ekd' with urfm\.more: ekd remembers .* each once for every pair; .*remove"
    ):
        toy(CONV, ACT, losses=[term])
