"""One embedding of several teachers."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from insightface_cakd.errors import ShapeError
from insightface_cakd.recipe.ensemble import EnsembleSpec
from insightface_cakd.teachers.base import Teacher

EPS = 1e-6


class Ensemble:
    """Makes one embedding of those of several teachers.

    With the unit embeddings u_k of an image and fixed weights w_k: e = unit(sum_k p_k u_k), where

    `mean`: p_k = w_k / sum_j w_j;
    `agreement`: p_k = w_k exp(a_k / temperature) / sum_j w_j exp(a_j / temperature), with a_k = mean over j != k of u_k . u_j.

    Source: the mean of unit embeddings is what users of several recognisers do; the weights by agreement are an assumption.

    Args:
        spec: of the recipe.
        teachers: by name, all of one embedding width.

    Raises:
        ShapeError: the widths differ.
    """

    def __init__(self, spec: EnsembleSpec, teachers: Mapping[str, Teacher]) -> None:
        widths = {name: teacher.embedding_size for name, teacher in teachers.items()}
        if len(set(widths.values())) > 1:
            said = ", ".join(f"{name} {width}" for name, width in widths.items())
            raise ShapeError(
                f"ensemble: the teachers' embeddings are of different widths ({said}); expected one width. Leave a teacher out, or "
                "give each a term of its own with `whose` and a projector."
            )
        self.spec = spec
        self.weights = tuple(spec.weights.get(name, 1.0) for name in teachers)

    def __call__(self, embeddings: list[Tensor]) -> Tensor:
        """Return the ensemble's unit embeddings.

        Shape:
            embeddings: K of (B, D), in the order of the teachers. Returns (B, D), float32.
        """
        units = torch.stack([normalize(rows.float(), eps=EPS) for rows in embeddings])  # (K, B, D)
        shares = self.shares(units)
        return normalize((shares[:, :, None] * units).sum(dim=0), eps=EPS)

    def shares(self, units: Tensor) -> Tensor:
        """Return each teacher's share in each image; they add up to 1.

        Shape:
            units: (K, B, D), rows of length 1. Returns (K, B).
        """
        fixed = units.new_tensor(self.weights)[:, None].expand(units.shape[:2])  # (K, B)
        if self.spec.kind == "mean":
            return fixed / fixed.sum(dim=0)
        cosines = torch.einsum("kbd,jbd->bkj", units, units)  # (B, K, K)
        others = cosines.sum(dim=2) - cosines.diagonal(dim1=1, dim2=2)
        agreement = others.T / (len(units) - 1)  # (K, B)
        assert self.spec.temperature is not None, "filled in when the recipe is read"
        return torch.softmax(agreement / self.spec.temperature + fixed.log(), dim=0)
