"""Converts any activation with a grid to tokens in one order."""

import math

from torch import Tensor

from insightface_cakd.errors import ShapeError
from insightface_cakd.networks.token_grid import TokenGrid


def as_tokens(activation: Tensor, extra: int = 0, where: str = "urfm.student") -> tuple[Tensor, TokenGrid]:
    """Return an activation as tokens and the grid on which they lie.

    Of the tokens, (B, N, C), the patches come first, row by row, then those that have no place on the face.

    Shape:
        activation: a map (B, C, H, W), or (B, H, W, C) with H = W as timm's Swin gives it; or tokens (B, N, C) of a square grid. A map
            whose first two sides are equal and whose last two are not is read as (B, H, W, C), any other as (B, C, H, W).

    Args:
        extra: tokens before the patches that have no place on the face; maps have none.
        where: key of the tap in the recipe, for errors.
    """
    if activation.ndim == 4 and extra == 0:
        last = activation.shape[1] == activation.shape[2] != activation.shape[3]
        rows, columns = activation.shape[1:3] if last else activation.shape[2:4]
        tokens = activation.flatten(1, 2) if last else activation.flatten(2).transpose(1, 2)
        return tokens, TokenGrid(rows, columns)
    shape = tuple(activation.shape)
    if activation.ndim != 3:
        given = f" with {extra} extra tokens" if extra else ""
        raise ShapeError(
            f"{where}: activation {shape}{given} has no grid; expected a map (B, C, H, W) or tokens (B, N, C). Tap a "
            f"layer before the pooling{', and leave the extra tokens out for a map' if extra else ''}."
        )
    side = math.isqrt(max(shape[1] - extra, 0))
    if side == 0 or side**2 != shape[1] - extra:
        raise ShapeError(
            f"{where}: {shape[1]} tokens, {extra} of them extra, lie on no square grid; expected a square number of patches such as 49 "
            f"or 144, and the extra tokens.{_hint(shape[1], where)}"
        )
    tokens = activation if extra == 0 else activation.roll(-extra, dims=1)
    return tokens, TokenGrid(side, side, extra)


def _hint(count: int, where: str) -> str:
    """Suggest a usual number of extra tokens that leaves a square."""
    for extra in range(6):
        if count > extra and math.isqrt(count - extra) ** 2 == count - extra:
            return f" {extra} extra would leave {count - extra}: set {where}_extra."
    return " Tap another layer."
