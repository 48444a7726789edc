"""Training images with their landmarks, moved and mirrored together."""

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.landmarks.crop import warp
from insightface_cakd.data.landmarks.flips import mirror
from insightface_cakd.data.landmarks.jitter import Jitter
from insightface_cakd.data.landmarks.points import PointSet, to_units
from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.landmarks.measure import resized
from insightface_cakd.hosts.embedded.dataset import SeededDataset, as_bytes


class PointFaces(SeededDataset):
    """Images uint8 (3, 112, 112), and points (2 K,) in their units.

    Args:
        points: the set.
        seed: of all draws.
        jitter: turns, scales, moves and frames image and points.
        flip: the point that each one becomes in a mirror; None mirrors nothing.
    """

    def __init__(
        self, points: PointSet, seed: int, jitter: Jitter | None = None, flip: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(seed)
        self.points = points
        self.jitter, self.flip = jitter or Jitter(), flip

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor] | DataError:
        try:
            rgb = self.points.image(index)
        except DataError as error:
            return error
        random = self.random(index)
        mirrored = random.random() < 0.5 and self.flip is not None
        if self.jitter == Jitter():
            image, placed = resized(rgb), self.points.placed(index, rgb)
        else:
            rgb = self.jitter.framed(rgb, random)
            matrix = self.jitter.matrix(rgb.shape[1::-1], FACE_SIZE, random)
            image, moved = warp(rgb, self.points.points[index], matrix, FACE_SIZE)
            placed = to_units(moved, (FACE_SIZE, FACE_SIZE))
        if mirrored and self.flip is not None:
            image, placed = image[:, ::-1], mirror(placed, self.flip)
        return as_bytes(image), torch.from_numpy(np.ascontiguousarray(placed, dtype=np.float32).reshape(-1))
