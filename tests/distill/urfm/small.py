"""A small mapping, tokens for it, and its three losses."""

import torch

from insightface_cakd.distill.urfm import URFM, TokenGrid, URFMSpec
from insightface_cakd.losses import LOSSES

STUDENT, TEACHER, EMBEDDING = 5, 7, 6
SMALL, LARGE = TokenGrid(3, 3), TokenGrid(4, 4)
BASE = {"student": "tap", "width": 12, "heads": 3, "centres": 4}


def build(student=SMALL, teacher=LARGE, anchor=True, **values):
    torch.manual_seed(0)
    return URFM(URFMSpec(**{**BASE, **values}), student, teacher, STUDENT, TEACHER, EMBEDDING if anchor else None)


def inputs(urfm, batch=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    sizes = ((urfm.grids["student"].count, STUDENT), (urfm.grids["teacher"].count, TEACHER), (EMBEDDING,))
    return [torch.randn(batch, *size, generator=generator).to(dtype) for size in sizes]


def run(urfm, student, teacher, embedding, landmarks=None):
    return urfm(student, teacher, landmarks, embedding)


def losses(outputs):
    """Return the two losses and the anchor's, as a step would compute them."""
    keys = {"urfm_attention": "attention", "urfm_feature": "fields", "urfm_anchor": "anchor"}
    return {name: LOSSES[name]()(outputs[f"student.{key}"], outputs[f"teacher.{key}"]) for name, key in keys.items()}
