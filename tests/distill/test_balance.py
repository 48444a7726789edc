"""The automatic balance: its factor from the equations, the same on any number of ranks, exact after a resume, and that it works."""

import math

import pytest
import torch

from insightface_cakd.distill.balance import Balance, BalanceSpec, EmbeddingGradients
from insightface_cakd.errors import RunError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.patched_runs import scalars
from tests.ranks import RANKS, run_ranks
from tests.toy import WIDTH, of_ranks, teacher_file, toy_batch, toy_head, toy_host, toy_teacher

CLASSES = 11
CPU = torch.device("cpu")
TERMS = [{"loss": "cosine", "weight": 2}, {"loss": "rkd_distance", "weight": 3}]


def gradients(margin, distillation):
    return EmbeddingGradients(torch.tensor(margin), torch.tensor(distillation))


def build(tmp_path=None, losses=TERMS, ratio=0.5, momentum=0.9):
    host = toy_host()
    teacher = {"network": "toy", **({"centres": [teacher_file(tmp_path, CLASSES)]} if tmp_path else {})}
    balance = {"balance": {"ratio": ratio, "momentum": momentum}} if ratio else {}
    recipe = parse_recipe({"teacher": teacher, "losses": losses, **balance}, "recipe")
    torch.manual_seed(0)
    distillation = seam.install(host, recipe, toy_teacher())
    student = host.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH)
    return student.train(), toy_head(host, CLASSES, (1.0, 0.5, 0.0)), distillation


def steps(parts, count):
    """Take steps of plain SGD; return factor and measured gradient ratio of each, and the last loss."""
    student, head, distillation = parts
    wrapped = of_ranks(student)
    optimizer = torch.optim.SGD([*student.parameters(), *head.parameters()], lr=1e-5)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    factors, ratios = [], []
    for _ in range(count):
        loss = head(wrapped(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found = student.gradients
        factors.append(float(distillation.step.balance_factor))
        ratios.append(math.sqrt(float(found.distillation) / float(found.margin)))
    return factors, ratios, loss.detach()


def test_the_factor_follows_the_equations():
    balance = Balance(BalanceSpec(ratio=0.5, momentum=0.9))
    factors, average, weight = [], 0.0, 0.0
    # Norms of the margin's and the terms' gradient, the latter before the factor.
    for margin, terms in [(3.0, 2.0), (1.0, 8.0), (5.0, 0.1), (2.0, 2.0)]:
        expected = 1.0 if weight == 0 else min(max(0.5 * math.exp(average / weight), 1e-3), 1e3)
        factors.append(float(balance.factor(CPU)))
        assert factors[-1] == pytest.approx(expected, rel=1e-5)
        balance.learn(gradients(margin**2, (factors[-1] * terms) ** 2), CPU)
        average = 0.9 * average + 0.1 * math.log(margin / terms)
        weight = 0.9 * weight + 0.1
    assert factors[0] == 1
    assert factors[1] == pytest.approx(0.5 * 3 / 2, rel=1e-5)


@pytest.mark.parametrize(
    "bad", [(0.0, 1.0), (1.0, 0.0), (float("inf"), 1.0), (1.0, float("nan")), (float("inf"), float("inf"))]
)
def test_a_step_that_measures_nothing_or_overflows_is_passed_over(bad):
    balance = Balance(BalanceSpec(ratio=2.0))
    balance.learn(gradients(*bad), CPU)
    assert float(balance.factor(CPU)) == 1
    balance.learn(gradients(4.0, 1.0), CPU)
    before = balance.factor(CPU)
    balance.learn(gradients(*bad), CPU)
    balance.learn(EmbeddingGradients(), CPU)
    assert torch.equal(balance.factor(CPU), before)


@pytest.mark.parametrize(("squares", "limit"), [((1e30, 1e-6), 1e3), ((1e-30, 1e6), 1e-3)])
def test_the_factor_stays_between_a_thousandth_and_a_thousand(squares, limit):
    balance = Balance(BalanceSpec(ratio=1.0))
    balance.learn(gradients(*squares), CPU)
    assert float(balance.factor(CPU)) == pytest.approx(limit, rel=1e-5)


def test_a_scaled_loss_changes_nothing():
    """As a loss scaler of float16, or gradient accumulation, scales both."""
    found = []
    for scale in (1.0, 65536.0):
        balance = Balance(BalanceSpec(ratio=1.0))
        balance.learn(gradients(3.0 * scale**2, 2.0 * scale**2), CPU)
        balance.learn(gradients(5.0, 1.0), CPU)
        found.append(float(balance.factor(CPU)))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize("ratio", [0.2, 3.0])
def test_the_measured_ratio_comes_to_the_wanted_one(ratio):
    factors, ratios, _ = steps(build(ratio=ratio, momentum=0.5), 30)
    assert factors[0] == 1
    assert ratios[0] != pytest.approx(ratio, rel=0.2)
    # The average lags behind a run that moves.
    assert ratios[-5:] == pytest.approx([ratio] * 5, rel=0.1)


def test_the_first_step_is_that_of_a_recipe_without_balance():
    student, head, _ = build()
    plain_student, plain_head, _ = build(ratio=None)
    images, labels = toy_batch(CLASSES)
    assert torch.equal(head(student(images), labels), plain_head(plain_student(images), labels))


def test_terms_on_logits_keep_their_weight(tmp_path):
    """Their gradient comes back through the head, with the margin's."""
    parts = build(tmp_path, [{"loss": "kd", "weight": 1}, *TERMS], ratio=5.0, momentum=0.0)
    factors, ratios, loss = steps(parts, 10)
    step = parts[2].step
    raw = {name: float(value) for name, value in step.raw.items()}
    assert ratios[-1] == pytest.approx(5.0, rel=0.25)
    expected = raw["margin"] + raw["kd"] + factors[-1] * (2 * raw["cosine"] + 3 * raw["rkd_distance"])
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(step.weighted["cosine"]) == pytest.approx(factors[-1] * 2 * raw["cosine"], rel=1e-5)


def run_of_ranks():
    parts = build()
    found = steps(parts, 4)
    return found[0], parts[2].step.balance.factor(CPU)


@pytest.mark.parametrize("world", RANKS)
def test_ranks_have_one_factor_and_that_of_one_process(world):
    expected, last = run_of_ranks()
    results = run_ranks(run_of_ranks, world)
    for factors, after in results:
        assert factors == pytest.approx(expected, rel=1e-4)
        assert factors == results[0][0]
        assert torch.equal(after, results[0][1])
    assert float(results[0][1]) == pytest.approx(float(last), rel=1e-4)


def test_a_resumed_run_goes_on_bit_for_bit():
    first = build()
    steps(first, 3)
    saved = (
        {k: v.clone() for k, v in first[0].state_dict().items()},
        {k: v.clone() for k, v in first[1].state_dict().items()},
    )
    assert saved[1]["cakd.balance"].shape == (4,)
    second = build()
    second[0].load_state_dict(saved[0])
    second[1].load_state_dict(saved[1])
    assert torch.equal(second[1].state_dict()["cakd.balance"], saved[1]["cakd.balance"]), "saved again before a step"
    ours, theirs = steps(first, 3), steps(second, 3)
    assert ours[:2] == theirs[:2]
    assert torch.equal(ours[2], theirs[2])
    assert torch.equal(first[1].state_dict()["cakd.balance"], second[1].state_dict()["cakd.balance"])


def test_a_state_without_balance_is_refused_by_a_recipe_with_it():
    _, head, _ = build()
    _, plain, _ = build(ratio=None)
    with pytest.raises(RunError, match=r"does not fit this recipe.*cakd\.balance"):
        head.load_state_dict(plain.state_dict())


def test_the_factor_is_logged_beside_the_gradient_ratio(tmp_path):
    parts = build()
    distillation = parts[2]
    distillation.monitor.log_dir, distillation.monitor.every = tmp_path, 2
    factors, ratios, _ = steps(parts, 5)
    distillation.monitor.close()
    assert scalars(tmp_path, "distill/balance") == [(2, pytest.approx(factors[1])), (4, pytest.approx(factors[3]))]
    assert scalars(tmp_path, "distill/gradient_ratio") == [(2, pytest.approx(ratios[1])), (4, pytest.approx(ratios[3]))]
