"""AdaFace: against the equation, norms that count, two ranks, and statistics that a resumed run goes on with."""

import math

import numpy as np
import pytest
import torch

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.head import distilled_head
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.sources import Setting
from insightface_cakd.distill.sources.centres.adaface import AdaFace, AdaFaceMargin, NormStatistics
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.recipe import Recipe, load_recipe, parse_recipe
from insightface_cakd.recipe.head import HeadSpec
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.centre_oracles import W3, S, Y, adaface_loss
from tests.hosts.both_hosts import double_precision
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.toy import WIDTH, of_ranks, toy_batch, toy_head, toy_host, toy_teachers

CLASSES = 11


def loss_of(students, labels, m=0.4, h=0.333):
    with double_precision():
        recipe = Recipe(teacher=TeacherSpec(network="toy"), head=HeadSpec(centres="learnt", margin="adaface", m=m, h=h))
        source = AdaFace(Setting(recipe, {}))
        source.statistics.double()
        distillation = Distillation(DistillationStep([]), Monitor(None), [source])
        head = distilled_head(PartialFC_V2, distillation)(CombinedMarginLoss(4, 1.0, 0.5, 0.0), 3, 3).train()
        head.weight.data.copy_(torch.tensor(W3))
        rows = torch.tensor(students)
        # The norms are taken in float32, as in a run.
        loss = head((rows, {"student.embedding": rows}), torch.tensor(labels))
    assert head.weight.requires_grad, "learnt centres stay the optimiser's"
    return float(loss), float(source.statistics.mean), float(source.statistics.std)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e-6])
@pytest.mark.parametrize(("m", "h"), [(0.4, 0.333), (0.2, 5.0)])
def test_equals_the_equation(size, m, h):
    students = S * size * np.array([[1.0], [9.0], [2.0], [0.5]])
    assert loss_of(students, Y, m, h) == pytest.approx(adaface_loss(students, Y, W3, 4, m, h), rel=1e-5)


def test_margins_by_hand():
    """At z = 1 the angle shrinks by m and 2 m are subtracted; at z = -1 it is ArcFace with m; at 0 CosFace with m."""
    margin = AdaFaceMargin(CombinedMarginLoss(1.0, 1.0, 0.5, 0.0), 0.4)
    for z, expected in ((1.0, math.cos(1.2 - 0.4) - 0.8), (-1.0, math.cos(1.2 + 0.4)), (0.0, math.cos(1.2) - 0.4)):
        margin.standing = torch.tensor([z, z])
        found = margin(torch.tensor([[math.cos(1.2), 0.1], [0.3, 0.2]]), torch.tensor([[0], [-1]]))
        assert found[0].tolist() == pytest.approx([expected, 0.1], abs=1e-6)
        assert found[1].tolist() == pytest.approx([0.3, 0.2])


def test_the_gradient_is_the_equations_and_finite_on_the_centre():
    margin = AdaFaceMargin(CombinedMarginLoss(64.0, 1.0, 0.5, 0.0), 0.4)

    def logits(cosines):
        margin.standing = torch.tensor([0.5, -0.5], dtype=torch.float64)
        return margin(cosines, torch.tensor([[1], [0]]))

    inside = torch.tensor([[0.2, 0.5], [-0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(logits, inside)
    edge = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    logits(edge).sum().backward()
    assert torch.isfinite(edge.grad).all()


def test_one_image_moves_the_mean_only():
    statistics = NormStatistics()
    statistics.update(torch.tensor([10.0]))
    assert float(statistics.mean) == pytest.approx(19.9)
    assert float(statistics.std) == 100.0


def built(centres="learnt"):
    host = toy_host()
    torch.manual_seed(0)
    content = {"teacher": {"network": "toy"}, "head": {"centres": centres, "margin": "adaface"}}
    seam.install(host, parse_recipe(content, "recipe"), toy_teachers())
    return host.get_model("toy", num_features=WIDTH).train(), toy_head(host, CLASSES, (1.0, 0.5, 0.0))


def steps(centres):
    student, head = built(centres)
    wrapped = of_ranks(student)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    for _ in range(2):
        loss = head(wrapped(images), labels)
        loss.backward()
    gradients = {name: value.grad for name, value in student.named_parameters()}
    return gradients, student.method["adaface"].state_dict(), float(loss.detach())


def both_centres():
    return {centres: steps(centres) for centres in ("learnt", "average")}


@pytest.mark.slow
def test_two_ranks_do_what_one_process_does():
    expected = both_centres()
    for found in run_ranks(both_centres, 2):
        for centres, (gradients, statistics, loss) in expected.items():
            assert found[centres][2] == pytest.approx(loss, rel=1e-5)
            for name, value in statistics.items():
                assert float(found[centres][1][name]) == pytest.approx(float(value), rel=1e-6)
            for name, gradient in gradients.items():
                assert_equal_up_to_rounding(found[centres][0][name], gradient, name)


def test_the_statistics_come_back_with_a_checkpoint():
    student, head = built()
    images, labels = toy_batch(CLASSES)
    head(student(images), labels).backward()
    state = head.state_dict()
    again, other = built()
    other.load_state_dict(state)
    for name in ("mean", "std"):
        assert torch.equal(getattr(again.method["adaface"], name), getattr(student.method["adaface"], name))
    before = again.method["adaface"].mean.clone()
    other.eval()(again(images), labels)
    assert torch.equal(again.method["adaface"].mean, before), "in eval mode nothing moves"


@pytest.mark.parametrize(
    ("head", "losses", "message"),
    [
        ({"centres": "learnt"}, [], r"head\.centres: learnt with margin: host is the host's own head"),
        ({"centres": "average", "m": 0.3}, [], r"head\.m: is read with margin: adaface only"),
        (
            {"centres": "average", "margin": "adaface"},
            [{"loss": "kd", "weight": 1}],
            r"term 'kd' compares logits .* head\.margin: adaface gives each image one of its own",
        ),
    ],
)
def test_what_does_not_fit_is_refused(head, losses, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"teacher": {"network": "toy"}, "head": head, "losses": losses}, "recipe")


def test_a_margin_without_a_scale_is_refused():
    with pytest.raises(RunError, match=r"head\.margin: adaface takes the scale .* Identity has no number `s`"):
        AdaFaceMargin(torch.nn.Identity(), 0.4)


def test_the_shipped_recipe_has_the_papers_values():
    head = load_recipe("adadistill_adaface").head
    assert (head.strength, head.concentration, head.reads_embedding) == (0.4, 0.333, True)
