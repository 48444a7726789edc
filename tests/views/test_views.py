"""What one side sees of an image: equal to OpenCV's pixels, the same after a resume, alike on both sides where asked."""

import cv2
import numpy as np
import pytest
import torch

from insightface_cakd.data.align.similarity import TEMPLATE
from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.named import NamedSpec, ViewsSpec
from insightface_cakd.views import VIEWS, Crop, EyeStrip, Mask, Mirror, Sides, build_view
from insightface_cakd.views.augment import Affine, Blur, Colour, CutOut, Mix, Noise
from insightface_cakd.views.low_resolution import LowResolution
from insightface_cakd.views.mask import MASK_COLOUR, mask_corners
from insightface_cakd.views.resize import DOWN, UP, area_weights

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


KINDS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


@pytest.mark.parametrize("down", DOWN)
@pytest.mark.parametrize("up", UP)
def test_every_interpolation_is_opencvs_up_to_two_levels(down, up):
    faces = pixels(2)
    for size in (9, 28):
        small = [cv2.resize(face, (size, size), interpolation=KINDS[down]) for face in faces]
        expected = np.stack([cv2.resize(face, (112, 112), interpolation=KINDS[up]) for face in small])
        found = as_faces(LowResolution(size, down, up)(as_images(faces), generator()))
        assert np.abs(found.astype(int) - expected).max() <= 2


def test_each_image_draws_size_and_interpolations_apart():
    images = as_images(pixels(64))
    ways = [(size, down, "linear") for size in (7, 112) for down in ("area", "nearest")]
    seen = LowResolution([7, 112], ["area", "nearest"], "linear")(images, generator())
    alone = [LowResolution(*way)(images, generator()) for way in ways]
    drawn = [next(n for n, one in enumerate(alone) if torch.equal(one[i], seen[i])) for i in range(len(images))]
    assert set(drawn) >= {0, 1, 2}
    assert torch.equal(alone[2], images)


def test_a_crop_keeps_its_box_in_place_or_fills_the_image_with_it():
    images = as_images(pixels())
    seen = Crop(top=28, bottom=56, left=14, right=98)(images, generator())
    assert torch.equal(seen[..., 28:56, 14:98], images[..., 28:56, 14:98])
    assert int((seen != 0).sum()) <= 4 * 3 * 28 * 84
    zoomed = Crop(top=28, bottom=84, left=28, right=84, rest="zoom")(images, generator())
    expected = [cv2.resize(face[28:84, 28:84], (112, 112), interpolation=cv2.INTER_LINEAR) for face in pixels()]
    assert np.abs(as_faces(zoomed).astype(int) - np.stack(expected)).max() <= 1


def test_the_eye_strip_shows_the_eyes_and_not_the_nose():
    seen = EyeStrip()(torch.ones(1, 3, 112, 112), generator())[0, 0]
    left_eye, right_eye, _, *mouth = np.rint(TEMPLATE).astype(int)
    assert all(seen[y, x] == 1 for x, y in (left_eye, right_eye))
    assert all(seen[y, x] == 0 for x, y in mouth)
    assert seen.sum(dim=0)[0] == 42


def test_an_affine_change_of_nothing_is_nothing_and_a_turn_is_opencvs():
    images = as_images(pixels())
    torch.testing.assert_close(Affine(0, 0, 0)(images, generator()), images, atol=1e-5, rtol=0)
    turn = Affine(degrees=30, scale=0.3, shift=0.1)
    one = images[:1]
    angle, scale, right, down = (torch.rand(1, 4, generator=generator(2)) * 2 - 1)[0].tolist()
    rotated = cv2.getRotationMatrix2D((55.5, 55.5), angle * 30, 1 + scale * 0.3)
    inverse = cv2.invertAffineTransform(rotated)
    inverse[:, 2] += np.array([right, down]) * 0.1 * 112
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(pixels()[0], inverse, (112, 112), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(as_faces(turn(one, generator(2)))[0].astype(int) - expected).max() <= 3


def test_colour_keeps_a_grey_image_grey_and_changes_its_brightness():
    grey = torch.full((8, 3, 4, 4), 0.2)
    seen = Colour()(grey, generator())
    assert torch.allclose(seen[:, 0], seen[:, 1])
    assert seen[:, 0, 0, 0].std() > 0.05
    torch.testing.assert_close(Colour(0, 0, 0)(as_images(pixels()), generator()), as_images(pixels()))


def test_a_blur_is_opencvs_of_the_drawn_width():
    images = as_images(pixels())
    seen = as_faces(Blur(3)(images, generator(1)))
    drawn = 0.1 + 2.9 * torch.rand(4, 1, generator=generator(1)).squeeze(1)
    for face, blurred, sigma in zip(pixels(), seen, drawn.tolist(), strict=True):
        expected = cv2.GaussianBlur(face, (19, 19), sigma, borderType=cv2.BORDER_REFLECT_101)
        assert np.abs(blurred.astype(int) - expected).max() <= 1


def test_noise_has_the_drawn_strength():
    seen = Noise(0.2)(torch.zeros(6, 3, 112, 112), generator(1))
    drawn = 0.2 * torch.rand(6, 1, generator=generator(1)).squeeze(1)
    torch.testing.assert_close(seen.flatten(1).std(dim=1), drawn, rtol=0.03, atol=0)


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_a_hole_is_a_whole_square(share):
    covered = CutOut(share)(torch.ones(32, 3, 112, 112), generator()) == 0
    assert covered.flatten(1).sum(dim=1).unique().tolist() == [3 * round(share * 112) ** 2]


def test_a_mix_is_a_share_of_another_image():
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 2, 2)
    seen = Mix(0.5)(images, generator(3))
    other = torch.randperm(8, generator=generator(3))
    assert ((seen - images).abs() <= 0.5 * (images - images[other]).abs() + 1e-6).all()
    assert not torch.equal(seen, images)


def test_weights_of_a_resize_sum_to_one():
    for size in (1, 7, 28, 111):
        np.testing.assert_allclose(area_weights(112, size).sum(1), 1)
        for weights in UP.values():
            np.testing.assert_allclose(weights(size, 112).sum(1), 1)


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
            r"size is not an option of LowResolution; known: sizes, down, up\. Did you mean 'sizes'",
        ),
        ({"kind": "low_resolution", "sizes": [0]}, r"sizes is \[0\]; expected whole numbers from 1"),
        ({"kind": "low_resolution", "sizes": 7, "up": "area"}, r"up is 'area'; expected one or more of nearest"),
        ({"kind": "low_resolution", "sizes": 7, "down": []}, r"down is \[\]; expected one or more of area"),
        (
            {"kind": "crop", "top": 60, "bottom": 113},
            r"row 60 to 113, column 0 to 112; expected 0 <= top < bottom <= 112",
        ),
        ({"kind": "crop", "left": 5, "right": 5}, r"column 5 to 5; expected .*Give for example top: 31"),
        ({"kind": "eye_strip", "rest": "black"}, r"rest is 'black'; expected grey or zoom"),
        ({"kind": "affine", "scale": 1}, r"scale is 1; expected a share from 0 to 0\.9"),
        ({"kind": "blur", "sigma": 0}, r"sigma is 0; expected pixels from 0\.1 to 20"),
        ({"kind": "mix", "share": 0.7}, r"share is 0\.7; expected a share from 0 to 0\.5"),
        ("tests.views.test_views:Absent", r"tests\.views\.test_views has no Absent"),
    ],
)
def test_what_is_no_view_is_refused_in_one_line(view, message):
    content = {"teacher": {"network": "r50"}, "losses": [{"loss": "cosine", "weight": 1}], "views": {"student": [view]}}
    recipe = parse_recipe(content, "recipe")
    with pytest.raises(RecipeError, match=message) as caught:
        Sides.of(recipe.views)
    assert "\n" not in str(caught.value)
