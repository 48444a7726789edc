"""Embedding and pairwise losses: their other forms, and what each alone can get wrong."""

import math

import pytest
import torch

from insightface_cakd.errors import RecipeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.triplet import TripletDistillationLoss, farther_than_the_positive, unit_distances
from tests.losses.cases import EMBEDDINGS, build, fixture, identities, random_pair
from tests.pair_oracles import queued, sp_cosine, triplet_distillation

ROWS = torch.tensor(EMBEDDINGS[0])


def value(name, *arguments, **options):
    return float(LOSSES[name](**options)(*arguments))


@pytest.mark.parametrize(
    ("name", "options", "known"),
    [
        ("sp", {"form": "cosine"}, 0.015840684),
        ("cckd", {"order": 1}, 0.002046835),
        ("darkrank", {"length": 2}, 0.038737343),
        ("mse", {"reduction": "sum"}, 0.049732035),
        ("mse", {"normalised": False}, 0.305833333),
    ],
)
def test_known_values_of_other_forms(name, options, known):
    assert value(name, *fixture(name), **options) == pytest.approx(known, abs=5e-10)


def test_the_cosine_form_of_sp_equals_its_oracle():
    student, teacher = random_pair("sp")
    assert value("sp", student, teacher, form="cosine") == pytest.approx(sp_cosine(student.numpy(), teacher.numpy()))


def test_cckd_of_order_1_is_a_fixed_share_of_the_cosine_form_of_sp():
    pair = random_pair("sp")
    share = (0.8 * math.exp(-0.8)) ** 2
    assert share == pytest.approx(0.129214, abs=5e-7)
    assert value("cckd", *pair, order=1) == pytest.approx(share * value("sp", *pair, form="cosine"), rel=1e-12)


def test_every_squared_distance_of_directions_is_a_multiple_of_one_minus_cosine():
    pair = random_pair("mse", width=512)
    cosine = value("cosine", *pair)
    assert value("mse", *pair, reduction="sum") == pytest.approx(2 * cosine, rel=1e-12)
    assert value("mse", *pair) == pytest.approx(2 / 512 * cosine, rel=1e-12)


def test_sp_reads_maps_as_rows():
    maps = [rows.view(6, 2, 3, 2) for rows in random_pair("sp", width=12)]
    assert value("sp", *maps) == pytest.approx(value("sp", *random_pair("sp", width=12)), rel=1e-12)


def test_darkrank_counts_a_duplicate_as_the_nearest_neighbour_and_never_the_image_itself():
    rows = ROWS.double()[[0, 0, 1, 2]]
    exact = value("darkrank", rows, rows)
    # Image 0 ranks its duplicate, 2, 3: the scores are 0, -3 d^3, ...
    apart = rows + torch.tensor([[0.0], [1e-9], [0.0], [0.0]], dtype=torch.float64)
    assert exact == pytest.approx(value("darkrank", apart, apart), abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_darkrank_ranks_what_there_is(count):
    student, teacher = random_pair("darkrank", rows=count)
    assert (value("darkrank", student, teacher) > 0) == (count > 2)


def test_darkrank_of_a_student_that_knows_no_order_is_log_l_factorial():
    student = torch.eye(6, dtype=torch.float64)
    assert value("darkrank", student, random_pair("darkrank")[0]) == pytest.approx(math.log(6))


def test_the_angular_loss_pulls_less_the_nearer_the_student_is():
    def pull(name, degrees):
        radians = math.radians(degrees)
        student = torch.tensor([[math.cos(radians), math.sin(radians)]], requires_grad=True)
        LOSSES[name]()(student, torch.tensor([[1.0, 0.0]])).backward()
        return float(student.grad.norm())

    for degrees in (10, 60):
        factor = 2 * (1 - math.cos(math.radians(degrees)))
        assert pull("angular", degrees) == pytest.approx(factor * pull("cosine", degrees), rel=1e-4)


TRIPLETS = torch.tensor([[0, 2], [1, 3], [2, 1]])


@pytest.mark.parametrize(("distance", "plain", "swapped"), [("l2", 0, 1.508647865), ("arccos", None, 1.104419151)])
def test_known_values_of_given_triplets(distance, plain, swapped):
    """(0, 1, 2) and (2, 3, 1), with the student's rows 1 and 2 as they are and swapped."""
    loss = TripletDistillationLoss(distance=distance)
    student, teacher = fixture("triplet_distillation")
    a, p, n = TRIPLETS
    theirs = loss.distances(teacher)
    for rows, known in ((student, plain), (student[[0, 2, 1, 3]], swapped)):
        ours = loss.distances(rows)
        found = loss.hinge(ours[a, p], ours[a, n], theirs[a, p], theirs[a, n], torch.tensor([True, True]))
        assert known is None or float(found) == pytest.approx(known, abs=5e-10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("within", [0.35, 10.0])
def test_semi_hard_triplets_are_those_of_the_oracle(seed, within, monkeypatch):
    random = torch.Generator().manual_seed(seed)
    # Few dimensions: distances on both sides of the positives', and images with nobody farther.
    student, teacher = (torch.randn(12, 3, generator=random, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([0, 1, 2] * 4)
    monkeypatch.setattr("tests.pair_oracles.WITHIN", within)
    expected = triplet_distillation(student.numpy(), teacher.numpy(), labels.numpy(), semi_hard=True)
    found = value("triplet_distillation", student, teacher, labels, mining="semi_hard", within=within)
    assert expected > 0
    assert found == pytest.approx(expected, rel=1e-12)


def test_semi_hard_triplets_leave_out_others_who_are_nearer_than_the_positive():
    angles = torch.tensor([0.0, 0.5, 0.4, 0.6])
    rows = torch.stack([angles.cos(), angles.sin()], dim=1).double()
    ours, people = unit_distances(rows), torch.tensor([0, 0, 1, 2])
    other, pairs = farther_than_the_positive(ours, people[:, None] == people)
    # From 0.0 the positive is at 0.5: 0.4 is nearer, 0.6 is farther.
    assert int(other[0, 1]) == 3
    assert pairs[0, 1]
    assert not pairs[1, 0]


def test_a_teacher_that_tells_no_triplet_apart_gives_the_smallest_margin():
    rows = ROWS.double()[[0, 2, 0, 2]]
    # All distances to the person's other picture and to the nearest other person are the teacher's 0: d = 0 everywhere.
    loss = value("triplet_distillation", rows, torch.ones_like(rows), identities(4), within=10.0)
    apart = float((torch.nn.functional.normalize(rows[:1]) - torch.nn.functional.normalize(rows[1:2])).square().sum())
    assert loss == pytest.approx(apart + 0.2)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]], ids=["one person", "all different"])
def test_without_triplets_the_loss_is_a_differentiable_0(labels):
    student, teacher = random_pair("triplet_distillation")
    loss = TripletDistillationLoss()(student.requires_grad_(), teacher, torch.tensor(labels))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not student.grad.any()


def test_qud_at_another_temperature():
    loss = LOSSES["qud"](temperature=1.0, queue=2)
    loss.queue.push(torch.tensor(queued(3)))
    assert float(loss(*fixture("qud"))) == pytest.approx(0.788001383, abs=5e-10)


def test_qud_pushes_unit_teacher_rows_after_it_has_used_the_queue():
    loss = build("qud")
    student, teacher = fixture("qud")
    first = loss(student, teacher)
    torch.testing.assert_close(loss.queue.rows, torch.nn.functional.normalize(teacher)[2:])
    assert float(first) == pytest.approx(0.138807896, abs=5e-10)
    assert float(loss(student, teacher)) > float(first)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sp", {"form": "raw"}),
        ("cckd", {"gamma": 0}),
        ("cckd", {"order": 0}),
        ("cckd", {"order": True}),
        ("darkrank", {"sharpness": -3}),
        ("darkrank", {"power": 1}),
        ("darkrank", {"length": 1}),
        ("mse", {"reduction": "none"}),
        ("mse", {"normalised": "yes"}),
        ("qud", {"temperature": 0}),
        ("qud", {"queue": 0}),
        ("qud", {"queue": 2.5}),
        ("qud", {"temperature": float("nan")}),
        ("triplet_distillation", {"smallest": -0.1}),
        ("triplet_distillation", {"largest": 0.1}),
        ("triplet_distillation", {"within": "near"}),
        ("triplet_distillation", {"distance": "l1"}),
        ("triplet_distillation", {"mining": "hard"}),
    ],
)
def test_options_that_cannot_be_meant_are_refused(name, options):
    with pytest.raises(RecipeError, match=f"{name}: {next(iter(options))} is .*; expected"):
        LOSSES[name](**options)
