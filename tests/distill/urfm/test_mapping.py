"""The mapping of both sides: grids of every kind, positions, precision, state, cost, bad input."""

import pytest
import torch
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from insightface_cakd.distill.urfm import TokenGrid, mapping
from insightface_cakd.distill.urfm.positions import template
from insightface_cakd.errors import ShapeError
from tests.distill.urfm.small import LARGE, SMALL, build, inputs, losses, run


@pytest.mark.parametrize("bias", ["query", "key", "none"])
@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (TokenGrid(7, 7), TokenGrid(7, 7)),
        (TokenGrid(7, 7), TokenGrid(12, 12)),
        (TokenGrid(14, 14), TokenGrid(7, 7, extra=8)),
        (TokenGrid(4, 3), TokenGrid(12, 12, extra=1)),
    ],
    ids=str,
)
def test_any_two_grids_meet_in_one_shape(bias, student, teacher):
    urfm = build(student, teacher, bias=bias)
    for landmarks in (None, template(torch.float32).expand(4, 5, 2)):
        outputs = run(urfm, *inputs(urfm), landmarks)
        assert {key: tuple(value.shape) for key, value in outputs.items()} == {
            "student.attention": (4, 3, 4, 4),
            "teacher.attention": (4, 3, 4, 4),
            "student.fields": (4, 4, 12),
            "teacher.fields": (4, 4, 12),
            "student.anchor": (4, 6),
            "teacher.anchor": (4, 6),
        }
    looks = urfm.looks(inputs(urfm)[1], "teacher")
    assert looks.shape == (4, 1, 4, teacher.count)
    torch.testing.assert_close(looks.sum(-1), torch.ones(4, 1, 4))


@pytest.mark.parametrize("bias", ["query", "key"])
def test_landmarks_of_each_image_take_the_templates_place(bias):
    urfm = build(bias=bias)
    given = inputs(urfm)
    landmarks = template().expand(4, 5, 2)
    plain, same = run(urfm, *given), run(urfm, *given, landmarks)
    moved = run(urfm, *given, landmarks + torch.tensor([0.0, -30.0]).double())
    for key, value in plain.items():
        torch.testing.assert_close(same[key], value)
    assert (moved["student.fields"] - plain["student.fields"]).abs().max() > 1e-3


def test_tokens_without_a_place_have_a_bucket_of_their_own_on_the_key_side():
    urfm = build(teacher=TokenGrid(4, 4, extra=2), bias="key")
    positions = urfm.local.parts["query"]["shared"].positions
    before = run(urfm, *inputs(urfm))
    with torch.no_grad():
        positions[-1] += 1
    after = run(urfm, *inputs(urfm))
    assert torch.equal(before["student.fields"], after["student.fields"])
    assert not torch.equal(before["teacher.fields"], after["teacher.fields"])


@pytest.mark.parametrize("bias", ["query", "key"])
def test_a_mirrored_face_gives_mirrored_fields(bias):
    """Query side: those of the mirrored centres, on the mirrored grid. Key side: the same, since tokens and positions move along."""
    urfm = build(TokenGrid(7, 7), TokenGrid(7, 7), bias=bias, centres=9).double()
    tokens, _, _ = inputs(urfm, batch=1, dtype=torch.float64)
    landmarks = template().unsqueeze(0) + torch.linspace(-6, 5, 10, dtype=torch.float64).view(1, 5, 2)
    mirrored = (torch.tensor([112.0, 0]).double() - landmarks * torch.tensor([1.0, -1]).double())[:, [1, 0, 2, 4, 3]]
    flipped = tokens.unflatten(1, (7, 7)).flip(2).flatten(1, 2)
    ours = urfm._run("student", tokens, landmarks).values
    order = torch.arange(9)
    if bias == "query":
        order = order.view(3, 3).flip(1).flatten()
        centres = urfm.local.parts["query"]["shared"].centres
        centres.data = centres.data[order]
    theirs = urfm._run("student", flipped, mirrored).values
    torch.testing.assert_close(theirs, ours[:, order])


@pytest.mark.parametrize("bias", ["query", "key"])
@pytest.mark.parametrize("normalise", ["tokens", "none"])
def test_gradients_are_those_of_finite_differences(bias, normalise):
    values = {"width": 4, "heads": 2, "mapping_heads": 2, "bias": bias, "normalise": normalise, "stop_gradient": "none"}
    # `images` is left out: moments that change with every call and are constants for the gradient have no finite differences.
    urfm = build(TokenGrid(2, 2), TokenGrid(2, 3, extra=1), **values).double()
    student, teacher, embedding = (x.requires_grad_() for x in inputs(urfm, batch=2, dtype=torch.float64))
    names = [f"local.parts.query.shared.{name}" for name in ("centres", "positions")]
    learnt = [dict(urfm.named_parameters())[name].detach().clone().requires_grad_() for name in names]

    def total(student, teacher, *weights):
        outputs = functional_call(urfm, dict(zip(names, weights, strict=True)), (student, teacher, None, embedding))
        return tuple(losses(outputs).values())

    assert torch.autograd.gradcheck(total, (student, teacher, *learnt))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tokens_give_finite_float32(dtype):
    urfm = build()
    given = [100 * x for x in inputs(urfm)]
    expected = run(urfm, *given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = run(urfm, *(x.to(dtype) for x in given))
    for key, value in outputs.items():
        assert value.dtype == torch.float32
        assert torch.isfinite(value).all()
        assert (value - expected[key]).norm() < 0.1 * expected[key].norm()


def test_its_state_holds_centres_and_buckets_and_loads_strictly():
    urfm, other = build(), build()
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn_like(weight))
    assert not [key for key in urfm.state_dict() if "buckets" in key]
    assert {"centres", "positions"} <= {key.split(".")[-1] for key in urfm.state_dict()}
    run(other, *inputs(other))
    urfm.load_state_dict(other.state_dict(), strict=True)
    for _ in range(2):
        theirs = run(other, *inputs(other))
        assert all(torch.equal(value, theirs[key]) for key, value in run(urfm, *inputs(urfm)).items())


@pytest.mark.parametrize("normalise", ["images", "tokens", "none"])
def test_fields_depend_on_the_scale_of_a_network_only_where_nothing_is_normalised(normalise):
    urfm = build(normalise=normalise).double()
    given = inputs(urfm, dtype=torch.float64)
    ours = run(urfm, *given)["student.fields"]
    scaled = run(build(normalise=normalise).double(), 1000 * given[0], *given[1:])["student.fields"]
    assert torch.allclose(scaled, ours, atol=1e-3) == (normalise != "none")


class Operations(TorchDispatchMode):
    """Counts what is computed."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("bias", ["query", "key"])
def test_more_tokens_are_no_more_operations_and_tables_are_built_once(bias, monkeypatch):
    small, large = build(SMALL, SMALL, bias=bias), build(TokenGrid(14, 14), TokenGrid(12, 12, extra=8), bias=bias)
    monkeypatch.setattr(mapping, "bucket_table", None)
    counts = []
    for urfm in (small, large):
        with Operations() as operations:
            run(urfm, *inputs(urfm))
        counts.append(operations.count)
    assert counts[0] == counts[1] < 300


def test_the_map_over_tokens_may_be_the_one_that_is_compared():
    urfm = build(LARGE, LARGE, attention="urfm", mapping_heads=2)
    outputs = run(urfm, *inputs(urfm))
    assert outputs["student.attention"].shape == outputs["teacher.attention"].shape == (4, 2, 4, 16)


@pytest.mark.parametrize(
    "grids", [(SMALL, LARGE), (LARGE, TokenGrid(4, 4, extra=8)), (TokenGrid(7, 7), TokenGrid(12, 12))], ids=str
)
def test_on_different_grids_and_with_prompts_it_is_laid_onto_the_patches_of_the_coarser_one(grids):
    urfm = build(*grids, attention="urfm", mapping_heads=2)
    outputs = run(urfm, *inputs(urfm))
    count = min(grid.rows * grid.columns for grid in grids)
    for side in ("student", "teacher"):
        maps = outputs[f"{side}.attention"]
        assert maps.shape == (4, 2, 4, count)
        torch.testing.assert_close(maps.sum(-1), torch.ones(4, 2, 4))


@pytest.mark.parametrize(
    ("side", "shape", "message"),
    [
        (0, (4, 49, 5), r"urfm.student: tokens \(4, 49, 5\); expected \(B, 9, 5\), a grid of 3x3\."),
        (1, (4, 16, 9), r"urfm.teacher: tokens \(4, 16, 9\); expected \(B, 16, 7\), a grid of 4x4\."),
    ],
)
def test_another_grid_than_promised_is_refused(side, shape, message):
    urfm = build()
    given = inputs(urfm)
    given[side] = torch.rand(*shape)
    with pytest.raises(ShapeError, match=message):
        run(urfm, *given)


def test_landmarks_outside_the_image_and_a_missing_embedding_are_refused():
    urfm = build()
    student, teacher, embedding = inputs(urfm)
    with pytest.raises(ShapeError, match=r"urfm landmarks: point 3 of image 0 is \(41\.5, 132\.4\)"):
        run(urfm, student, teacher, embedding, template().expand(4, 5, 2) + torch.tensor([0.0, 40.0]))
    with pytest.raises(ShapeError, match="urfm: no embedding of the teacher for the anchor"):
        urfm(student, teacher)


def test_more_centres_than_patches_and_a_mapping_that_nothing_trains_are_warned_of_once(recwarn):
    urfm = build(centres=16, anchor=False)
    for _ in range(2):
        urfm(*inputs(urfm)[:2])
    texts = [str(warning.message) for warning in recwarn]
    assert [text.split(";")[0] for text in texts] == [
        "urfm.centres: 16 centres for a grid of 9 patches (student 3x3, teacher 4x4)",
        "urfm: nothing trains centres and weights of the mapping, since stop_gradient is mapping and no term reads the anchor",
    ]
    recwarn.clear()
    build(centres=9)
    assert not recwarn.list
