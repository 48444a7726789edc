"""Variants of sets of aligned faces: masked, low resolution, eye strip, mirrored."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import EvaluationError, did_you_mean
from insightface_cakd.views import EyeStrip, LowResolution, Mask, Mirror, View
from insightface_cakd.views.view import as_bytes

On = Literal["probe", "both"]

PLAIN, SINGLE = "plain", "single"
# `single` is there to compare `flipped` with.
ALL = (PLAIN, "masked", "lowres:28", "lowres:14", SINGLE, "flipped")
NAMES = (PLAIN, "masked", "lowres:N", "eye_strip", SINGLE, "flipped")
CHUNK = 256


@dataclass(frozen=True)
class Variant:
    """A version of a set: a change of its images.

    `mirrored` says whether the mirror image's embedding is added, as in the protocol. A flipped face would leave no trace
    in that sum, so that `flipped` goes without, and `single` shows what going without costs. `face_bn` is the share of the
    test's own statistics in batch norms, see `face_batch_norm`.
    """

    name: str
    view: View | None = None
    mirrored: bool = True
    face_bn: float = 0


def parse_variants(names: Sequence[str], face_bn: float = 0) -> list[Variant]:
    """Return the variants of some names, `plain` where there is none.

    Names are `plain`, `masked`, `lowres:N` with N pixels a side, `eye_strip`, `single`, `flipped`, or `all` for six of
    them. With `face_bn` each is followed by the same under FaceBN.
    """
    wanted = [name for given in names or (PLAIN,) for name in (ALL if given == "all" else (given,))]
    found = [_variant(name) for name in dict.fromkeys(wanted)]
    return [one for plain in found for one in ((plain, _adapted(plain, face_bn)) if face_bn else (plain,))]


def _adapted(variant: Variant, share: float) -> Variant:
    before = "" if variant.name == PLAIN else f"{variant.name}, "
    return replace(variant, name=f"{before}FaceBN {share:g}", face_bn=share)


def vary(pairs: VerificationSet, variant: Variant, on: On = "probe") -> VerificationSet:
    """Return a variant of a set; `probe` keeps each pair's first image."""
    images = pairs.images.copy()
    if variant.view is not None:
        changed = images[1::2] if on == "probe" else images
        for start in range(0, len(changed), CHUNK):
            changed[start : start + CHUNK] = seen_faces(changed[start : start + CHUNK], variant.view)
    return replace(pairs, images=images)


def seen_faces(faces: np.ndarray, view: View) -> np.ndarray:
    """Return uint8 faces (B, S, S, 3) through a view without draws."""
    images = torch.from_numpy(np.ascontiguousarray(faces.transpose(0, 3, 1, 2))).float() / 127.5 - 1
    return as_bytes(view(images, torch.Generator()))


def _variant(name: str) -> Variant:
    fixed = {
        PLAIN: Variant(PLAIN),
        "masked": Variant("masked", Mask()),
        "eye_strip": Variant("eye_strip", EyeStrip()),
        SINGLE: Variant(SINGLE, mirrored=False),
        "flipped": Variant("flipped", Mirror(), mirrored=False),
    }
    if name in fixed:
        return fixed[name]
    side = re.fullmatch(r"lowres:(\d{1,3})", name)
    if side and 1 <= int(side[1]) < FACE_SIZE:
        return Variant(name, LowResolution(int(side[1])))
    raise EvaluationError(
        f"--variant {name}: unknown; expected all or one of {', '.join(NAMES)}, N from 1 to {FACE_SIZE - 1}."
        f"{did_you_mean(name, (*ALL, 'eye_strip', 'all'))} Correct it, for example --variant lowres:14."
    )
