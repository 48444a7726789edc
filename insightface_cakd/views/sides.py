"""The views of student and teacher on a batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from insightface_cakd.errors import RecipeError, RunError, did_you_mean
from insightface_cakd.recipe.named import NamedSpec, ViewsSpec
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.objects import construct, import_object, is_place
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.views.augment import Affine, Blur, Colour, CutOut, Mix, Noise
from insightface_cakd.views.crop import Crop, EyeStrip
from insightface_cakd.views.low_resolution import LowResolution
from insightface_cakd.views.mask import Mask
from insightface_cakd.views.mirror import Mirror
from insightface_cakd.views.view import View

VIEWS: dict[str, Any] = {
    "low_resolution": LowResolution,
    "mask": Mask,
    "mirror": Mirror,
    "crop": Crop,
    "eye_strip": EyeStrip,
    "affine": Affine,
    "colour": Colour,
    "blur": Blur,
    "noise": Noise,
    "cut_out": CutOut,
    "mix": Mix,
}


def build_view(spec: NamedSpec, where: str) -> View:
    """Return a view that a recipe names: one of `VIEWS`, or `package.module:Class`."""
    if spec.kind not in VIEWS and not is_place(spec.kind):
        raise RecipeError(
            f"{where}: view '{spec.kind}' is not known; known: {', '.join(VIEWS)}, or package.module:Class."
            f"{did_you_mean(spec.kind, VIEWS)}"
        )
    kind = VIEWS[spec.kind] if spec.kind in VIEWS else import_object(spec.kind, where, "view")
    view = construct(kind, spec.options, f"{where}: view {spec.kind}", RecipeError)
    if not callable(view):
        raise RecipeError(
            f"{where}: view {spec.kind}: cannot be called; expected `__call__(images, generator)`. Add it."
        )
    return view


def _shown(view: View, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return what a view makes of a batch."""
    where, expected = f"view {type(view).__name__}", "images (B, 3, H, W), as many as it was given. Correct it."
    with foreign(where, RunError, expected, of=view):
        seen = view(images, generator)
    if not isinstance(seen, Tensor) or seen.ndim != 4 or seen.shape[:2] != images.shape[:2]:
        said = tuple(seen.shape) if isinstance(seen, Tensor) else f"a {type(seen).__name__}"
        raise RunError(f"{where}: gives {said} for images {tuple(images.shape)}; expected {expected}")
    return seen


class Sides:
    """Applies the views of each side to a batch.

    What is drawn depends on seed, step and rank alone, so a resumed run sees what it would have seen without the stop. `both` is applied
    once, before the others, so that both sides see it alike; `teacher` is for every teacher.
    """

    def __init__(
        self, both: Sequence[View] = (), student: Sequence[View] = (), teacher: Sequence[View] = (), seed: int = 0
    ) -> None:
        self.both, self.student, self.teacher = list(both), list(student), list(teacher)
        self.seed = seed

    @classmethod
    def of(cls, spec: ViewsSpec, seed: int = 0) -> "Sides | None":
        """Return the sides of a recipe, None for one without views."""
        lists = {
            side: [
                build_view(view, f"recipe: views.{side}[{number}]") for number, view in enumerate(getattr(spec, side))
            ]
            for side in ("both", "student", "teacher")
        }
        return cls(**lists, seed=seed) if any(lists.values()) else None

    @torch.no_grad()
    def __call__(self, images: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the images of the student and those of the teachers.

        Args:
            images: (B, 3, S, S), of the data set.
        """
        generator = torch.Generator().manual_seed(((self.seed * 1_000_003 + step) * 4099 + rank()) % 2**63)
        for view in self.both:
            images = _shown(view, images, generator)
        ours, theirs = images, images
        for view in self.student:
            ours = _shown(view, ours, generator)
        for view in self.teacher:
            theirs = _shown(view, theirs, generator)
        return ours, theirs
