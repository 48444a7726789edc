"""The seam: three names replaced for the length of a run, gradients that do not depend on the number of ranks, state that resumes."""

import pytest
import torch

from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.ranks import QUICK_RANKS, RANKS, run_ranks
from tests.rounding import ROUNDING, assert_equal_up_to_rounding
from tests.toy import WIDTH, of_ranks, prototypes_folder, teacher_file, toy_batch, toy_head, toy_host, toy_teachers

CLASSES = 11
TERMS = {
    "cosine": [{"loss": "cosine", "weight": 20}],
    "fcd": [{"loss": "fcd", "weight": 20}],
    "fitnet": [{"loss": "fitnet", "weight": 20, "student": "conv", "teacher": "conv", "projector": "conv1x1"}],
    "rkd": [{"loss": "rkd_distance", "weight": 25}, {"loss": "rkd_angle", "weight": 50}],
    "kd": [{"loss": "kd", "weight": 1}],
    "gkd": [
        {"loss": "gkd", "weight": 1, "grouping": "fixed", "size": 4, "name": "fixed"},
        {"loss": "gkd", "weight": 1, "grouping": "per_sample", "name": "per_sample"},
        {"loss": "gkd", "weight": 1, "grouping": "adaptive", "step": 2, "name": "adaptive"},
    ],
    "logit_regression": [{"loss": "logit_regression", "weight": 0.1}],
    "embeddings": [{"loss": name, "weight": 20} for name in ("mse", "angular")],
    "pairs": [{"loss": name, "weight": 20} for name in ("sp", "cckd", "darkrank", "triplet_distillation")],
    "ekd": [{"loss": "ekd", "weight": 20}],
    "ekd with a queue": [{"loss": "ekd", "weight": 20, "queue": 30}],
    "coupleface": [{"loss": "fcd", "weight": 20}, {"loss": "relation_aware", "weight": 20, "q": 0.0}],
    "qud": [{"loss": "qud", "weight": 20, "queue": 30}],
    "maps": [
        {"loss": name, "weight": 20, "student": "conv", "teacher": "conv", "projector": "conv1x1"}
        for name in ("at", "askd", "fskd", "fskd_relation")
    ],
    "urfm": [{"loss": f"urfm_{name}", "weight": 20} for name in ("attention", "feature", "anchor")],
}
FIELDS = {"student": "conv", "teacher": "conv", "centres": 4, "width": 8, "heads": 2}


def build(losses, tmp_path, sample_rate=1.0):
    """Return student and head as a training loop would build them, from one seed."""
    host = toy_host()
    teacher_spec = {"network": "toy"}
    if any(term["loss"] in ("kd", "gkd", "logit_regression") for term in losses):
        teacher_spec["centres"] = [teacher_file(tmp_path, CLASSES)]
    if any(term["loss"] == "relation_aware" for term in losses):
        teacher_spec["prototypes"] = prototypes_folder(tmp_path, CLASSES)
    content = {"teacher": teacher_spec, "losses": losses}
    if any(term["loss"].startswith("urfm") for term in losses):
        content["urfm"] = FIELDS
    recipe = parse_recipe(content, "recipe")
    torch.manual_seed(0)
    distillation = seam.install(host, recipe, toy_teachers())
    student = host.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH)
    head = toy_head(host, CLASSES, (1.0, 0.5, 0.0), sample_rate)
    return student, head, distillation


def gradients(losses, tmp_path, steps=1):
    """Return parameter gradients of the last step on this rank's share of the batch, and the head's rows in class order."""
    student, head, _ = build(losses, tmp_path)
    wrapped = of_ranks(student.train())
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    for _ in range(steps):
        student.zero_grad()
        head.zero_grad()
        head.train()(wrapped(images), labels).backward()
    return {name: parameter.grad for name, parameter in student.named_parameters()}, head.weight.grad


def gradients_of_each(tmp_path, steps):
    return {method: gradients(losses, tmp_path, steps) for method, losses in TERMS.items()}


@pytest.mark.parametrize("world", QUICK_RANKS)
@pytest.mark.parametrize("steps", [1, pytest.param(3, marks=pytest.mark.slow)], ids=["first step", "third step"])
def test_gradients_of_several_ranks_equal_one_process_margin_loss_included(world, steps, tmp_path):
    """DDP's static graph takes another path in the first step than in all others."""
    expected = gradients_of_each(tmp_path, steps)
    results = run_ranks(gradients_of_each, world, tmp_path, steps)
    for method, (student, head) in expected.items():
        # Tokens are divided by their deviation over the images of all ranks, whose rounding depends on the order of the sum.
        rounding = ROUNDING * (3 if method == "urfm" else 1)
        whole = torch.cat([gradient.flatten() for gradient in student.values()])
        for ours in results:
            found = torch.cat([ours[method][0][name].flatten() for name in student])
            assert_equal_up_to_rounding(found, whole, f"{method}, student", rounding)
        rows = torch.cat([ours[method][1] for ours in results])
        assert_equal_up_to_rounding(rows, head, f"{method}, class centres", rounding)


def kd_beside_margin(tmp_path, weight):
    """Return what KD adds to the student's gradient."""
    with_kd, _ = gradients([{"loss": "kd", "weight": weight}], tmp_path)
    without, _ = gradients([{"loss": "kd", "weight": 1e-30}], tmp_path)
    return {name: with_kd[name] - without[name] for name in with_kd}


@pytest.mark.parametrize("world", RANKS)
def test_the_weight_of_kd_does_not_grow_with_the_number_of_ranks(world, tmp_path):
    """A published trap: behind the head's own gather (sum, times ranks) a loss that every rank computes whole counts so many times."""
    expected = kd_beside_margin(tmp_path, 5)
    for ours in run_ranks(kd_beside_margin, world, tmp_path, 5):
        for name, gradient in expected.items():
            assert float(ours[name].norm() / gradient.norm()) == pytest.approx(1, rel=1e-3), name


def test_a_term_of_weight_0_equals_its_absence(tmp_path):
    with_zero, _ = gradients([*TERMS["cosine"], {"loss": "rkd_angle", "weight": 0}], tmp_path)
    without, _ = gradients(TERMS["cosine"], tmp_path)
    assert all(torch.equal(with_zero[name], without[name]) for name in without)


def test_initial_weights_do_not_depend_on_distillation(tmp_path):
    student, *_ = build(TERMS["fitnet"], tmp_path)
    torch.manual_seed(0)
    plain = toy_host().get_model("toy", num_features=WIDTH)
    assert all(
        torch.equal(a, b) for a, b in zip(student.state_dict().values(), plain.state_dict().values(), strict=True)
    )


def test_the_three_names_come_back_after_the_run():
    host = toy_host()
    before = dict(vars(host))
    recipe = parse_recipe({"teacher": {"network": "toy"}, "losses": TERMS["cosine"]}, "recipe")
    with seam.installed(host, recipe, toy_teachers()):
        assert host.get_model is not before["get_model"]
        assert host.CombinedMarginLoss is before["CombinedMarginLoss"], (
            "no term reads logits, so the margin stays the host's"
        )
    assert vars(host) == before


def test_the_head_is_the_hosts_own_class(tmp_path):
    _, head, _ = build(TERMS["cosine"], tmp_path)
    assert isinstance(head, toy_host().PartialFC_V2)
    assert next(iter(head.state_dict())) == "weight"


def test_sampled_heads_give_the_teacher_the_same_rows(tmp_path):
    student, head, distillation = build(TERMS["kd"], tmp_path, sample_rate=0.6)
    images, labels = toy_batch(CLASSES)
    loss = head.train()(student.train()(images), labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(distillation.step.raw["kd"])
    assert len(head.weight_index) < CLASSES


def test_method_state_travels_in_the_heads_and_a_plain_head_loads_too(tmp_path):
    student, head, distillation = build(TERMS["fitnet"], tmp_path)
    images, labels = toy_batch(CLASSES)
    head.train()(student.train()(images), labels).backward()
    saved = {key: value.clone() for key, value in head.state_dict().items()}
    assert {key for key in saved if key.startswith("cakd.")} == {"cakd.step", "cakd.projectors.fitnet.channels.weight"}
    other_student, other_head, other = build(TERMS["fitnet"], tmp_path)
    other_student.method["projectors"]["fitnet"].channels.weight.data.zero_()
    other_head.load_state_dict(saved)
    assert other.step.step == distillation.step.step == 1
    assert torch.equal(
        other_student.method["projectors"]["fitnet"].channels.weight,
        student.method["projectors"]["fitnet"].channels.weight,
    )
    other_head.load_state_dict({"weight": saved["weight"]})


def test_another_recipes_state_is_refused(tmp_path):
    _, head, _ = build(TERMS["fitnet"], tmp_path)
    _, plain, _ = build(TERMS["cosine"], tmp_path)
    with pytest.raises(RunError, match=r"method's state does not fit this recipe.*cakd\.projectors\.fitnet"):
        plain.load_state_dict(head.state_dict())


def test_a_warm_up_raises_the_weight_linearly(tmp_path):
    _, _, distillation = build([{"loss": "cosine", "weight": 8, "schedule": {"kind": "linear", "steps": 4}}], tmp_path)
    weights = []
    for step in range(6):
        distillation.step.step = step
        weights.append(distillation.step.weight(distillation.step.terms[0]))
    assert weights == [0, 2, 4, 6, 8, 8]


def test_a_term_that_is_not_finite_stops_the_run_at_its_step_by_name(tmp_path):
    student, head, _ = build(TERMS["cosine"], tmp_path)
    images, labels = toy_batch(CLASSES)
    head.train()(student.train()(images), labels)
    student.teacher.network.head.bias.data.fill_(float("nan"))
    with pytest.raises(
        RunError, match=r"step 1: term 'cosine' is not finite \(rank 0\); raw terms now: margin .*, cosine nan"
    ):
        head(student(images), labels)
    with pytest.raises(RunError, match="term 'cosine' is not finite"):
        head.state_dict()


def test_logits_without_centres_are_refused_before_the_run():
    recipe = parse_recipe({"teacher": {"network": "toy"}, "losses": TERMS["kd"]}, "recipe")
    with pytest.raises(RecipeError, match=r"logits term needs the teacher's class centres.*--centres FILE"):
        seam.install(toy_host(), recipe, toy_teachers())


def test_the_teacher_is_bit_for_bit_the_same_after_three_steps(tmp_path):
    student, head, _ = build(TERMS["cosine"], tmp_path)
    before = [tensor.clone() for tensor in student.teacher.network.state_dict().values()]
    optimizer = torch.optim.SGD([*student.parameters(), *head.parameters()], lr=0.1)
    images, labels = toy_batch(CLASSES)
    for _ in range(3):
        head.train()(student.train()(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = student.teacher.network.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "term",
    [
        {"loss": "ekd", "weight": 1},
        {"loss": "ekd", "weight": 1, "queue": 16},
        {"loss": "qud", "weight": 1, "queue": 16},
        {"loss": "relation_aware", "weight": 1},
    ],
    ids=lambda term: f"{term['loss']} {term.get('queue', '')}",
)
def test_losses_with_a_memory_go_on_exactly(term, tmp_path):
    def steps(parts, count):
        student, head, _ = parts
        for _ in range(count):
            student.zero_grad()
            loss = head.train()(student.train()(toy_batch(CLASSES)[0]), toy_batch(CLASSES)[1])
            loss.backward()
        return loss.detach()

    first = build([term], tmp_path)
    steps(first, 2)
    saved = {key: value.clone() for key, value in first[1].state_dict().items()}
    second = build([term], tmp_path)
    second[1].load_state_dict(saved)
    assert torch.equal(steps(first, 1), steps(second, 1))
    ours, theirs = first[1].state_dict(), second[1].state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
