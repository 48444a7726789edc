"""What one side sees of an image: equal to OpenCV's pixels, the same after a resume, alike on both sides where asked."""

import cv2
import numpy as np
import pytest
import torch

from insightface_cakd.data.align.similarity import TEMPLATE
from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.named import NamedSpec, ViewsSpec
from insightface_cakd.views import VIEWS, Mask, Mirror, Sides, build_view
from insightface_cakd.views.low_resolution import LowResolution, area_weights, cubic_weights
from insightface_cakd.views.mask import MASK_COLOUR, mask_corners

OPTIONS = {"low_resolution": {"sizes": [14, 28]}}


def pixels(count=4, seed=0):
    """Return uint8 faces (count, 112, 112, 3) with soft edges."""
    drawn = np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(face, (0, 0), 2) for face in drawn])


def as_images(faces):
    return torch.from_numpy(faces.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_faces(images):
    return ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "apart"), [(28, 1), (14, 1), (7, 1), (10, 1), (16, 1), (21, 1), (56, 2), (112, 0)])
def test_low_resolution_equals_opencvs_area_and_cubic(size, apart):
    faces = pixels()
    small = [cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA) for face in faces]
    expected = np.stack([cv2.resize(face, (112, 112), interpolation=cv2.INTER_CUBIC) for face in small])
    found = as_faces(LowResolution(size)(as_images(faces), generator()))
    assert np.abs(found.astype(int) - expected).max() <= apart


def test_weights_of_a_resize_sum_to_one():
    for size in (1, 7, 28, 111):
        np.testing.assert_allclose(area_weights(112, size).sum(1), 1)
        np.testing.assert_allclose(cubic_weights(size, 112).sum(1), 1)


def test_of_several_sizes_each_image_draws_one():
    images = as_images(pixels(12))
    found = LowResolution([7, 28])(images, generator())
    one, other = (LowResolution(size)(images, generator()) for size in (7, 28))
    drawn = [
        int(torch.equal(seen, low)) + 2 * int(torch.equal(seen, high))
        for seen, low, high in zip(found, one, other, strict=True)
    ]
    assert set(drawn) == {1, 2}


def test_the_mask_covers_nose_mouth_and_chin_and_leaves_eyes_and_forehead():
    faces = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    seen = as_faces(Mask()(as_images(faces), generator()))[0]
    covered = (seen == MASK_COLOUR).all(axis=-1)
    left_eye, right_eye, nose, left_mouth, right_mouth = np.rint(TEMPLATE).astype(int)
    for x, y in (nose, left_mouth, right_mouth, (56, 105)):
        assert covered[y, x]
    for x, y in (left_eye, right_eye, (56, 20), (3, 3), (108, 3)):
        assert not covered[y - 4 : y + 5, max(x - 4, 0) : x + 5].any()
    assert 0.2 < covered.mean() < 0.4
    assert np.array_equal(seen[~covered], faces[0][~covered])


def test_the_mask_is_alike_on_both_sides_of_the_nose():
    corners, nose = mask_corners(), TEMPLATE[2, 0]
    assert corners.shape == (8, 2)
    mirrored = np.column_stack([2 * nose - corners[:, 0], corners[:, 1]])[::-1]
    np.testing.assert_allclose(corners, mirrored, atol=1e-4)


def test_low_resolution_averages_what_lies_in_a_pixel():
    blocks = np.random.default_rng(1).integers(0, 256, (14, 14, 3)).astype(np.uint8)
    face = blocks.repeat(8, axis=0).repeat(8, axis=1).astype(int) // 2 + 60
    noise = np.tile(np.array([[4, -4], [-4, 4]]), (56, 56))[..., None]
    shaken, still = (as_images(x.astype(np.uint8)[None]) for x in (face + noise, face))
    assert torch.equal(LowResolution(14)(shaken, generator()), LowResolution(14)(still, generator()))
    one = as_faces(LowResolution(1)(still, generator()))
    assert np.ptp(one.reshape(-1, 3), axis=0).tolist() == [0, 0, 0]


def test_a_mirror_image_of_a_mirror_image_is_the_image():
    images = as_images(pixels())
    assert torch.equal(Mirror()(Mirror()(images, generator()), generator()), images)


@pytest.mark.parametrize("kind", VIEWS)
def test_a_gradient_passes_after_a_first_use_in_inference_mode(kind):
    view = build_view(NamedSpec(kind=kind, options=OPTIONS.get(kind, {})), "here")
    images = torch.rand(1, 3, 96, 96, generator=generator()) * 2 - 1
    with torch.inference_mode():
        view(images, generator())
    scale = torch.ones((), requires_grad=True)
    view(images * scale, generator()).sum().backward()
    assert scale.grad is not None


@pytest.mark.parametrize("kind", VIEWS)
def test_every_view_keeps_shape_range_and_the_images_it_is_given(kind):
    images = as_images(pixels())
    before = images.clone()
    view = build_view(NamedSpec(kind=kind, options=OPTIONS.get(kind, {})), "here")
    seen = view(images, generator())
    assert seen.shape == images.shape
    assert seen.dtype == images.dtype
    assert float(seen.abs().max()) <= 1
    assert torch.equal(images, before)
    assert torch.equal(view(images, generator(3)), view(images, generator(3)))


def test_what_is_drawn_depends_on_seed_and_step_alone():
    images = as_images(pixels(16))
    sides = Sides(student=[LowResolution([7, 14, 28])], seed=5)
    first, second = sides(images, 3)[0], sides(images, 4)[0]
    assert torch.equal(sides(images, 3)[0], first)
    assert not torch.equal(first, second)
    assert not torch.equal(Sides(student=[LowResolution([7, 14, 28])], seed=6)(images, 3)[0], first)


def test_both_sides_see_a_shared_view_alike_and_each_its_own():
    images = as_images(pixels())
    ours, theirs = Sides(both=[LowResolution([7, 28])], student=[Mirror()])(images, 0)
    assert torch.equal(ours.flip(-1), theirs)
    assert not torch.equal(theirs, images)


class Dimmed:
    """A view of a user's own: a share of the contrast."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, images, generator):
        return images * self.share


def test_a_view_from_outside_the_package_is_named_by_its_place():
    spec = ViewsSpec.model_validate({"student": [{"kind": "tests.views.test_views:Dimmed", "share": 0.5}]})
    images = as_images(pixels())
    ours, theirs = Sides.of(spec)(images, 0)
    assert torch.equal(ours, images * 0.5)
    assert torch.equal(theirs, images)


@pytest.mark.parametrize("side", ["both", "teacher"])
def test_a_cached_teacher_cannot_see_what_was_not_cached(side):
    content = {
        "teacher": {"network": "cached"},
        "losses": [{"loss": "cosine", "weight": 1}],
        "views": {side: ["mirror"]},
    }
    with pytest.raises(
        RecipeError, match=r"recipe: teacher is cached, and its views change the images.*views\.student"
    ):
        parse_recipe(content, "recipe")
    parse_recipe(content | {"views": {"student": ["mirror"]}}, "recipe")


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (
            "low_resolutio",
            r"recipe: views\.student\[0\]: view 'low_resolutio' is not known; known: low_resolution.*Did you mean",
        ),
        ({"kind": "low_resolution"}, r"view low_resolution: sizes is missing"),
        (
            {"kind": "low_resolution", "size": 3},
            r"size is not an option of LowResolution; known: sizes\. Did you mean 'sizes'",
        ),
        ({"kind": "low_resolution", "sizes": [0]}, r"sizes is \[0\]; expected whole numbers from 1"),
        ("tests.views.test_views:Absent", r"tests\.views\.test_views has no Absent"),
    ],
)
def test_what_is_no_view_is_refused_in_one_line(view, message):
    content = {"teacher": {"network": "r50"}, "losses": [{"loss": "cosine", "weight": 1}], "views": {"student": [view]}}
    recipe = parse_recipe(content, "recipe")
    with pytest.raises(RecipeError, match=message) as caught:
        Sides.of(recipe.views)
    assert "\n" not in str(caught.value)
