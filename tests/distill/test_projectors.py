"""Projectors: shapes joined, orientation kept, misfits named."""

import pytest
import torch

from insightface_cakd.distill.projectors import PROJECTORS, build_projector, check_shapes
from insightface_cakd.errors import RecipeError, ShapeError

FITTING = {
    "linear": ((64,), (128,)),
    "orthogonal": ((64,), (128,)),
    "conv1x1": ((8, 7, 7), (16, 14, 14)),
    "map_to_embedding": ((8, 7, 7), (32,)),
    "pooled_to_embedding": ((8, 7, 7), (32,)),
    "map_to_tokens": ((8, 7, 7), (144, 32)),
    "tokens_to_map": ((144, 32), (8, 7, 7)),
}


def test_every_kind_is_covered_here():
    assert set(FITTING) == set(PROJECTORS)


@pytest.mark.parametrize("kind", PROJECTORS)
def test_takes_the_students_shape_to_the_teachers_and_trains(kind):
    ours, theirs = FITTING[kind]
    projector = build_projector(kind, ours, theirs, "term 'x'")
    projected = projector(torch.rand(3, *ours))
    assert projected.shape == (3, *theirs)
    projected.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in projector.parameters())


def test_tokens_are_the_map_row_by_row():
    projector = build_projector("map_to_tokens", (1, 3, 3), (9, 1), "term 'x'")
    projector.to_map.channels.weight.data.fill_(1)
    tokens = projector(torch.arange(9.0).view(1, 1, 3, 3))
    assert tokens.flatten().tolist() == list(range(9))
    back = build_projector("tokens_to_map", (9, 1), (1, 3, 3), "term 'x'")
    back.to_map.channels.weight.data.fill_(1)
    assert back(tokens).flatten().tolist() == list(range(9))


def test_another_grid_is_resampled():
    projector = build_projector("conv1x1", (1, 2, 2), (1, 4, 4), "term 'x'")
    projector.channels.weight.data.fill_(1)
    columns = projector(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))[0, 0, 0]
    assert columns.tolist() == [0.0, 0.25, 0.75, 1.0]


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(RecipeError, match=r"term 'x': projector 'linaer' is not known; .* Did you mean 'linear'\?"):
        build_projector("linaer", (4,), (8,), "term 'x'")


@pytest.mark.parametrize(
    ("kind", "ours", "theirs", "message"),
    [
        (
            "linear",
            (8, 7, 7),
            (49, 32),
            r"student is \(8, 7, 7\) and teacher \(49, 32\)\. Set projector: map_to_tokens",
        ),
        ("map_to_tokens", (8, 7, 7), (50, 32), r"teacher has 50 tokens; expected a square grid"),
        ("conv1x1", (8,), (8, 7, 7), "No projector joins these"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(kind, ours, theirs, message):
    with pytest.raises(ShapeError, match=message):
        build_projector(kind, ours, theirs, "term 'x'")


def test_equal_shapes_need_none_and_others_name_it():
    check_shapes("term 'x'", (4,), (4,))
    with pytest.raises(
        ShapeError, match=r"term 'x': student \(4,\) vs teacher \(8,\); expected equal shapes\. Set projector: linear\."
    ):
        check_shapes("term 'x'", (4,), (8,))
