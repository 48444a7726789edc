"""Training images with their landmarks, moved and mirrored together."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.landmarks.crop import warp
from insightface_cakd.data.landmarks.flips import mirror
from insightface_cakd.data.landmarks.jitter import Jitter
from insightface_cakd.data.landmarks.points import PointSet, to_units
from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.landmarks.measure import resized


class PointFaces(Dataset[tuple[Tensor, Tensor] | DataError]):
    """Images uint8 (3, 112, 112), and points (2 K,) in their units.

    What is drawn for an image depends on (seed, epoch, index) only.

    Args:
        points: the set.
        seed: of all draws.
        jitter: turns, scales and moves image and points.
        flip: the point that each one becomes in a mirror; None mirrors nothing.
    """

    def __init__(
        self, points: PointSet, seed: int, jitter: Jitter | None = None, flip: tuple[int, ...] | None = None
    ) -> None:
        self.points, self.seed = points, seed
        self.jitter, self.flip = jitter or Jitter(), flip
        # Shared with worker processes that outlive an epoch.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor] | DataError:
        try:
            rgb = self.points.image(index)
        except DataError as error:
            return error
        random = np.random.default_rng((self.seed, int(self.epoch), index))
        mirrored = random.random() < 0.5 and self.flip is not None
        if self.jitter == Jitter():
            image, placed = resized(rgb), self.points.placed(index, rgb)
        else:
            matrix = self.jitter.matrix(rgb.shape[1::-1], FACE_SIZE, random)
            image, moved = warp(rgb, self.points.points[index], matrix, FACE_SIZE)
            placed = to_units(moved, (FACE_SIZE, FACE_SIZE))
        if mirrored and self.flip is not None:
            image, placed = image[:, ::-1], mirror(placed, self.flip)
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return pixels, torch.from_numpy(np.ascontiguousarray(placed, dtype=np.float32).reshape(-1))
