"""Facial positional encoding: distances, index function and buckets against loops over points."""

import pytest
import torch

from insightface_cakd.distill.urfm import TokenGrid, URFMSpec
from insightface_cakd.distill.urfm.positions import (
    bucket_table,
    check_landmarks,
    facial_distance,
    grid_points,
    piecewise_index,
    template,
)
from insightface_cakd.errors import ShapeError
from tests.distill.urfm import oracle

X = [0, 0.4, 0.6, 1, 1.4, 1.6, 1.9, 2, 3, 3.5, 4, 5, 7, 15.2, 20]
MIRROR = [1, 0, 2, 4, 3]
structures = pytest.mark.parametrize("structure", ["both", "saliency", "relative", "none"])


def spec(**values):
    return URFMSpec(student="tap", **values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_index_function_has_its_known_values(dtype):
    values = torch.tensor(X, dtype=dtype)
    assert piecewise_index(values).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]
    assert piecewise_index(-values).tolist() == (-piecewise_index(values)).tolist()


@pytest.mark.parametrize("setting", [(1.9, 3.8, 15.2), (1.0, 7.5, 9.0), (2.5, 4.0, 6.0)])
def test_the_index_function_equals_its_oracle(setting):
    values = torch.linspace(-20, 20, 997, dtype=torch.float64)
    assert piecewise_index(values, *setting).tolist() == [oracle.index(float(x), *setting) for x in values]


def test_the_tip_of_the_nose_lies_where_it_should_on_a_7x7_grid():
    column, row = (template()[2] / 16 - 0.5).tolist()
    assert (round(column, 2), round(row, 2)) == (3.0, 3.98)
    assert bucket_table(TokenGrid(7, 7), template(), spec())[4 * 7 + 3] == 0


@structures
@pytest.mark.parametrize(("grid", "gamma", "cell"), [((7, 7), 1.0, 16.0), ((4, 3), 0.3, 28.0), ((14, 14), 2.0, 8.0)])
def test_distances_and_buckets_equal_their_oracle(structure, grid, gamma, cell):
    options = spec(structure=structure, gamma=gamma, cell=cell)
    found = facial_distance(grid_points(TokenGrid(*grid)), template(), options)
    landmarks = oracle.EYES_NOSE_MOUTH
    expected = [oracle.distance(p, landmarks, structure, gamma, cell) for p in oracle.places(*grid)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    buckets = bucket_table(TokenGrid(*grid), template(), options)
    assert buckets.tolist() == [oracle.index(value) for value in expected]


def test_distances_by_hand():
    # Landmarks on the corners of a 48x64 rectangle and its middle, the origin; the point is a corner: 3-4-5 triangles.
    landmarks = torch.tensor([[0.0, 0], [48, 0], [24, 32], [0, 64], [48, 64]])
    point = torch.tensor([[0.0, 0.0]])
    assert facial_distance(point, landmarks, spec(structure="none")).tolist() == [40 / 16]
    # Saliency: both are landmarks. Relative: distances 0, 48, 40, 64, 80 against 40, 40, 0, 40, 40.
    assert facial_distance(point, landmarks, spec(structure="saliency")).tolist() == [2.5]
    squares = 40**2 + 8**2 + 40**2 + 24**2 + 40**2
    found = facial_distance(point, landmarks, spec(structure="relative", gamma=2.0))
    assert found.item() == pytest.approx(2.5 + 2 * (squares / 5) ** 0.5 / 16, rel=1e-6)


@structures
def test_distance_is_zero_at_the_origin_and_gamma_0_leaves_space_only(structure):
    assert facial_distance(template()[2:3], template(), spec(structure=structure)).item() == 0
    points = grid_points(TokenGrid(7, 7))
    plain = facial_distance(points, template(), spec(structure="none"))
    assert torch.equal(facial_distance(points, template(), spec(structure=structure, gamma=0.0)), plain)


def test_the_origin_may_be_the_centre_of_the_image():
    options = spec(structure="relative", origin="centre")
    found = facial_distance(grid_points(TokenGrid(7, 7)), template(), options)
    assert found[24] == 0
    expected = [
        oracle.distance(p, oracle.EYES_NOSE_MOUTH, "relative", origin=(56.0, 56.0)) for p in oracle.places(7, 7)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@structures
def test_a_mirrored_face_has_the_mirrored_table(structure):
    generator = torch.Generator().manual_seed(3)
    landmarks = template() + 4 * torch.randn(6, 5, 2, generator=generator, dtype=torch.float64)
    mirrored = (torch.tensor([112.0, 0.0]) - landmarks * torch.tensor([1.0, -1.0]))[:, MIRROR]
    grid, options = TokenGrid(7, 7), spec(structure=structure)
    ours = bucket_table(grid, landmarks, options).unflatten(-1, (7, 7))
    assert torch.equal(bucket_table(grid, mirrored, options).unflatten(-1, (7, 7)), ours.flip(-1))
    assert len(ours.flatten(1).unique(dim=0)) > 1


def test_each_image_has_the_table_of_its_landmarks_and_tokens_without_a_place_their_own_bucket():
    landmarks = template() + torch.tensor([[[0.0, 0.0]], [[9.0, -7.0]]], dtype=torch.float64)
    grid = TokenGrid(7, 7, extra=8)
    tables = bucket_table(grid, landmarks, spec())
    assert tables.shape == (2, 57)
    assert torch.equal(tables[0], bucket_table(grid, template(), spec()))
    assert not torch.equal(tables[0], tables[1])
    assert (tables[:, 49:] == 4).all()
    assert tables[:, :49].max() == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda points: points[:, :4], r"urfm landmarks: \(3, 4, 2\) for 3 images; expected \(3, 5, 2\)"),
        (
            lambda points: points.index_put(
                (torch.tensor(1), torch.tensor(4)), torch.tensor([130.0, 90.0], dtype=points.dtype)
            ),
            r"130\.0, 90\.0",
        ),
        (
            lambda points: points - 40,
            r"point 0 of image 0 is \(-1\.7, 11\.7\); expected pixels of the aligned 112x112 image",
        ),
        (lambda points: points * float("nan"), r"point 0 of image 0 is \(nan, nan\)"),
    ],
)
def test_landmarks_outside_the_image_are_refused(change, message):
    landmarks = template().expand(3, 5, 2)
    check_landmarks(landmarks, 3)
    with pytest.raises(ShapeError, match=message) as caught:
        check_landmarks(change(landmarks), 3)
    assert "\n" not in str(caught.value)
