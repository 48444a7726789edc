"""Brings attention maps of two networks onto one grid for comparison."""

import torch
from torch import Tensor

from insightface_cakd.networks.token_grid import TokenGrid

EPS = 1e-6


def common_grid(student: TokenGrid, teacher: TokenGrid) -> TokenGrid:
    """Return the grid with the fewer rows and columns, without extra tokens."""
    return TokenGrid(min(student.rows, teacher.rows), min(student.columns, teacher.columns))


def shares(fine: int, coarse: int) -> Tensor:
    """Return each fine cell's share in each coarse cell of a line.

    A float64 matrix (coarse, fine) whose columns sum to 1.
    """
    ends = torch.arange(fine + 1, dtype=torch.float64) / fine
    bounds = torch.arange(coarse + 1, dtype=torch.float64) / coarse
    overlap = torch.minimum(ends[1:], bounds[1:, None]) - torch.maximum(ends[:-1], bounds[:-1, None])
    return overlap.clamp_min(0) * fine


def regrid(grid: TokenGrid, common: TokenGrid) -> Tensor | None:
    """Return the matrix that resamples a patch map to a coarser grid.

    Resampling is by area. The matrix is float32 (cells of `grid`, cells of `common`), and its rows sum to 1. None where the grids are the
    same.
    """
    if (grid.rows, grid.columns) == (common.rows, common.columns):
        return None
    return torch.kron(shares(grid.rows, common.rows), shares(grid.columns, common.columns)).T.float()


def patch_attention(looks: Tensor, grid: TokenGrid, matrix: Tensor | None) -> Tensor:
    """Return attention over patches on the common grid.

    Attention to tokens that have no place on the face is left out; the rows of the rest sum to 1, but for one that goes to tokens without a
    place, all but 1e-6 of it, which stays below 1.

    Shape:
        looks: (..., grid.count). matrix: of `regrid`. Returns (..., rows * columns of the common grid).
    """
    patches = looks[..., : grid.rows * grid.columns]
    if grid.extra:
        patches = patches / patches.sum(dim=-1, keepdim=True).clamp_min(EPS)
    return patches if matrix is None else patches @ matrix.to(patches.dtype)
