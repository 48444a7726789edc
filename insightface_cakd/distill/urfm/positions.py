"""Facial positional encoding: a bucket per point of the face."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from insightface_cakd.errors import ShapeError
from insightface_cakd.networks.token_grid import TokenGrid
from insightface_cakd.recipe.urfm import URFMSpec

IMAGE = 112
NOSE = 2
# InsightFace's alignment template: eyes, tip of the nose, corners of the mouth; (x, y) in pixels.
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


def grid_points(grid: TokenGrid) -> Tensor:
    """Return the centre of every cell of a grid, row by row.

    Float64 (cells, 2), in pixels.
    """
    across = (torch.arange(grid.columns, dtype=torch.float64) + 0.5) * (IMAGE / grid.columns)
    down = (torch.arange(grid.rows, dtype=torch.float64) + 0.5) * (IMAGE / grid.rows)
    y, x = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def template(dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the landmarks of an aligned face, (5, 2)."""
    return torch.tensor(TEMPLATE, dtype=dtype)


def _landmark_distances(points: Tensor, landmarks: Tensor) -> Tensor:
    """Return the distance of every point to every landmark, (..., P, 5)."""
    return torch.linalg.vector_norm(points.unsqueeze(-2) - landmarks.unsqueeze(-3), dim=-1)


def _saliency_distance(points: Tensor, origin: Tensor, landmarks: Tensor) -> Tensor:
    """Return |s_i - s_origin|, s the distance to the nearest landmark.

    CAKD names the distance; the formula is an assumption.
    """
    nearest = _landmark_distances(points, landmarks).amin(dim=-1)
    return (nearest - _landmark_distances(origin.unsqueeze(-2), landmarks).amin(dim=-1)).abs()


def _relative_distance(points: Tensor, origin: Tensor, landmarks: Tensor) -> Tensor:
    """Return each point's distance from the origin, in distances to the landmarks.

    |v_i - v_origin| / sqrt(5), v the distances to the five landmarks. CAKD names the distance; the formula is an assumption.
    """
    ours, theirs = _landmark_distances(points, landmarks), _landmark_distances(origin.unsqueeze(-2), landmarks)
    return torch.linalg.vector_norm(ours - theirs, dim=-1) / landmarks.shape[-2] ** 0.5


_STRUCTURES: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...]] = {
    "both": (_saliency_distance, _relative_distance),
    "saliency": (_saliency_distance,),
    "relative": (_relative_distance,),
    "none": (),
}


def facial_distance(points: Tensor, landmarks: Tensor, spec: URFMSpec) -> Tensor:
    """Return spatial distance + gamma * facial structure distance, in cells.

    Shape:
        points: (P, 2), pixels. landmarks: (..., 5, 2), pixels. Returns (..., P).
    """
    points, landmarks = points.to(landmarks) / spec.cell, landmarks / spec.cell
    middle = torch.full_like(landmarks[..., NOSE, :], IMAGE / 2 / spec.cell)
    origin = landmarks[..., NOSE, :] if spec.origin == "nose" else middle
    distance = torch.linalg.vector_norm(points - origin.unsqueeze(-2), dim=-1)
    structures = [measure(points, origin, landmarks) for measure in _STRUCTURES[spec.structure]]
    return distance + spec.gamma * torch.stack(structures).mean(dim=0) if structures else distance


def piecewise_index(distances: Tensor, alpha: float = 1.9, beta: float = 3.8, reach: float = 15.2) -> Tensor:
    """Return iRPE's piecewise index of a distance.

    Fine for near distances, logarithmic for far ones, clipped:

    g(x) = [x] for |x| <= alpha, else sign(x) min(beta, [alpha + ln(|x| / alpha) / ln(reach / alpha) (beta - alpha)]), [.] rounding
    half to even; then truncated to an integer: int64 in [-floor(beta), floor(beta)].

    Source:
        iRPE (2107.14222), eq. 18 and its defaults 1.9, 3.8, 15.2.
    """
    size = distances.abs()
    rise = (beta - alpha) / math.log(reach / alpha)
    far = distances.sign() * (alpha + (size.clamp_min(alpha) / alpha).log() * rise).round().clamp_max(beta)
    return torch.where(size <= alpha, distances.round(), far).long()


def bucket_table(grid: TokenGrid, landmarks: Tensor, spec: URFMSpec) -> Tensor:
    """Return the bucket of every token, given by its place.

    Tokens without a place share a bucket of their own.

    Shape:
        landmarks: (..., 5, 2), pixels. Returns (..., grid.count), int64.
    """
    distance = facial_distance(grid_points(grid), landmarks, spec)
    index = piecewise_index(distance, spec.alpha, spec.beta, spec.reach)
    return torch.nn.functional.pad(index, (0, grid.extra), value=spec.buckets)


def check_landmarks(landmarks: Tensor, batch: int) -> None:
    """Check that landmarks are (batch, 5, 2) and lie in the image.

    Reads the device, so that landmarks cost a wait where they are given.
    """
    if tuple(landmarks.shape) != (batch, 5, 2):
        raise ShapeError(
            f"urfm landmarks: {tuple(landmarks.shape)} for {batch} images; expected ({batch}, 5, 2), x and y of eyes, nose and corners "
            "of the mouth."
        )
    outside = ~((landmarks >= 0) & (landmarks <= IMAGE)).all(dim=-1)
    if bool(outside.any()):
        image, point = (int(index) for index in outside.nonzero()[0])
        x, y = landmarks[image, point].tolist()
        raise ShapeError(
            f"urfm landmarks: point {point} of image {image} is ({x:.1f}, {y:.1f}); expected pixels of the aligned {IMAGE}x{IMAGE} "
            "image. Give the landmarks after the alignment, or none to use the template's."
        )
