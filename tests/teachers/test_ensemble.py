"""One embedding of several teachers: by hand, against NumPy, in a run, and on two ranks."""

import numpy as np
import pytest
import torch

from insightface_cakd.errors import RecipeError, ShapeError
from insightface_cakd.recipe import Recipe, load_recipe, parse_recipe
from insightface_cakd.recipe.ensemble import EnsembleSpec
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from insightface_cakd.teachers import Teacher
from insightface_cakd.teachers.ensemble import Ensemble
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.toy import WIDTH, Toy, of_ranks, toy_batch, toy_head, toy_host

CLASSES = 11
NAMES = ("a", "b", "c")
COSINE = {"loss": "cosine", "weight": 20}


def toy(seed, width=WIDTH):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Teacher.of_network(Toy(width), "toy", width, torch.device("cpu"))


def three():
    return {name: toy(seed) for seed, name in enumerate(NAMES)}


def recipe(ensemble, *losses, names=NAMES, **more):
    teachers = {name: {"network": "toy"} for name in names}
    return parse_recipe(
        {"teachers": teachers, "ensemble": ensemble, "losses": list(losses or [COSINE]), **more}, "recipe"
    )


def in_numpy(embeddings, weights, temperature=None):
    """Return the ensemble of K of (B, D), image by image; with a temperature, weighted by agreement."""
    answer = []
    for image in range(len(embeddings[0])):
        units = [rows[image] / np.linalg.norm(rows[image]) for rows in embeddings]
        shares = list(weights)
        if temperature is not None:
            for k, unit in enumerate(units):
                agreement = np.mean([unit @ other for j, other in enumerate(units) if j != k])
                shares[k] = weights[k] * np.exp(agreement / temperature)
        total = sum(share / sum(shares) * unit for share, unit in zip(shares, units, strict=True))
        answer.append(total / np.linalg.norm(total))
    return np.stack(answer)


def ensemble_of(given, count, width=WIDTH):
    spec = EnsembleSpec.model_validate(given)
    return Ensemble(spec, {name: Teacher(torch.nn.Identity(), name, width, "cpu") for name in NAMES[:count]})


def test_the_mean_of_two_unit_embeddings_by_hand():
    """Lengths do not matter: (3, 0) and (0, 1) give the diagonal; with weights 3 : 1, (3, 1) / sqrt(10)."""
    rows = [torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    assert ensemble_of("mean", 2, 2)(rows).tolist()[0] == pytest.approx([0.5**0.5, 0.5**0.5])
    weighted = ensemble_of({"kind": "mean", "weights": {"a": 3}}, 2, 2)(rows)
    assert weighted.tolist()[0] == pytest.approx([3 / 10**0.5, 1 / 10**0.5])


@pytest.mark.parametrize("temperature", [None, 0.05, 1.0])
@pytest.mark.parametrize("weights", [{}, {"a": 2.0, "c": 0.5}], ids=str)
def test_equals_the_equation(temperature, weights):
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randn(6, 5, generator=generator) * 9 for _ in NAMES]
    given = {"kind": "mean"} if temperature is None else {"kind": "agreement", "temperature": temperature}
    found = ensemble_of({**given, "weights": weights}, 3, 5)(rows)
    expected = in_numpy(
        [part.double().numpy() for part in rows], [weights.get(name, 1.0) for name in NAMES], temperature
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_the_teacher_that_disagrees_counts_less_and_in_its_image_only():
    close = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    units = torch.stack([close, close, torch.tensor([[0.0, 1.0], [1.0, 0.0]])])
    shares = ensemble_of("agreement", 3, 2).shares(units)
    assert shares[:, 1].tolist() == pytest.approx([1 / 3] * 3)
    # a = (0.5, 0.5, 0) / 0.1: exp(5), exp(5), 1.
    assert float(shares[2, 0]) == pytest.approx(1 / (2 * np.exp(5) + 1), rel=1e-4)


def test_an_embedding_of_zeros_stays_finite():
    for kind in ("mean", "agreement"):
        assert torch.isfinite(ensemble_of(kind, 3, 4)([torch.zeros(2, 4)] * 3)).all()


def built(read, taught):
    host = toy_host()
    torch.manual_seed(0)
    distillation = seam.install(host, read, taught)
    student = host.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH)
    return student.train(), toy_head(host, CLASSES, (1.0, 0.5, 0.0)), distillation


def test_a_term_without_a_name_reads_the_ensemble_and_one_with_a_name_its_teacher():
    read = recipe(
        "mean", COSINE, {**COSINE, "name": "own", "whose": "b"}, {**COSINE, "name": "said", "whose": "ensemble"}
    )
    student, head, distillation = built(read, three())
    images, labels = toy_batch(CLASSES)
    outputs = student(images)
    head(outputs, labels)
    said = [teacher(images) for teacher in three().values()]
    whole = torch.from_numpy(in_numpy([rows.double().numpy() for rows in said], [1.0] * 3)).float()
    for term, rows in (("cosine", whole), ("own", said[1]), ("said", whole)):
        expected = (1 - torch.nn.functional.cosine_similarity(outputs[0], rows)).mean()
        assert float(distillation.step.raw[term]) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_centres_follow_the_ensemble():
    read = parse_recipe(
        {"teachers": {name: {"network": "toy"} for name in NAMES}, "ensemble": "mean", "head": {"centres": "average"}},
        "r",
    )
    student, head, _ = built(read, three())
    images, labels = toy_batch(CLASSES)
    outputs = student(images)
    features = outputs[1]
    (rule,) = [source for source in student.sources if hasattr(source, "taught")]
    assert torch.equal(rule.taught(features), features["ensemble.embedding"])
    assert torch.isfinite(head(outputs, labels))


def gradients(kind):
    student, head, _ = built(recipe(kind), three())
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    wrapped = of_ranks(student)
    head(wrapped(images), labels).backward()
    return {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_does():
    expected = gradients("agreement")
    for found in run_ranks(gradients, 2, "agreement"):
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name)


def test_teachers_of_different_widths_are_refused():
    with pytest.raises(ShapeError, match=r"ensemble: .*different widths \(a 16, b 8, c 16\); expected one width"):
        built(recipe("mean"), {**three(), "b": toy(1, 8)})


@pytest.mark.parametrize(
    ("ensemble", "names", "losses", "message"),
    [
        ("agreement", ("a", "b"), [], r"kind agreement with 2 teachers; expected at least 3 \(two agree"),
        ("mean", ("a",), [], r"kind mean with 1 teachers; expected at least 2"),
        ({"kind": "mean", "weights": {"d": 1}}, NAMES, [], r"ensemble\.weights\.d: no such teacher; known: a, b, c"),
        ({"kind": "mean", "temperature": 1}, NAMES, [], r"ensemble\.temperature: is read with kind: agreement only"),
        ({"kind": "mean", "weights": {"a": 0}}, NAMES, [], r"ensemble\.weights\.a is 0"),
        ("mean", ("a", "ensemble"), [], r"teachers\.ensemble: is the name of the ensemble itself"),
        ("mean", NAMES, [{**COSINE, "whose": "ensemble", "teacher": "conv"}], r"'cosine' taps the ensemble"),
    ],
)
def test_ensembles_that_do_not_fit_are_refused(ensemble, names, losses, message):
    with pytest.raises(RecipeError, match=message):
        recipe(ensemble, *losses, names=names)


def test_any_recipe_takes_an_ensemble_from_the_command_line():
    settings = ("teachers.a.weights=a.onnx", "teachers.b.weights=b.onnx", "ensemble=mean")
    read = load_recipe("cosine", settings)
    assert [spec.network for spec in read.named_teachers.values()] == ["onnx", "onnx"]
    assert read.ensemble.kind == "mean"
    assert Recipe.model_validate(read.model_dump()) == read


def test_the_option_for_one_teacher_means_the_first_of_several():
    read = load_recipe("ensemble", ("teacher.weights=a.onnx",))
    assert read.teachers["first"].weights == read.teacher.weights == "a.onnx"
    assert read.teachers["second"].weights is None
