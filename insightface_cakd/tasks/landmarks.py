"""The task of facial landmarks: regression of any number of points."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from insightface_cakd.data.landmarks.flips import MOST_ASKEW, askew
from insightface_cakd.data.landmarks.jitter import Jitter
from insightface_cakd.data.landmarks.points import PointSet
from insightface_cakd.data.landmarks.sets import read_points
from insightface_cakd.errors import DataError, RecipeError
from insightface_cakd.evaluate.landmarks.measure import TRAIN, measure_points
from insightface_cakd.networks.last_norm import free_last_norm
from insightface_cakd.report.result import Result
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.tasks.batches import TaskBatches
from insightface_cakd.tasks.point_faces import PointFaces
from insightface_cakd.tasks.task import DataRequest, Measure, Task

# Maximum number of images from which the mean shape is taken.
SHAPES = 1000


class Landmarks(Task):
    """Train a network to find points on the face.

    Its answer is x and y of each point, p = (2 x + 1) / width - 1, where x is 0 at the centre of the first pixel.

    Data: the set `train` in the folder `rec`, and one for each name in `val_targets`: a CSV beside a folder, or records (see
    `read_points`). Images are resized to 112 x 112, in training also moved at random and mirrored where it is known which point becomes
    which. The student's last layer gets 2 K outputs.

    Args:
        loss: `l1`, mean of |p - t| over points and axes; `l2`, half the squared distance summed over points, mean over images.
        degrees: largest angle by which image and points are turned in training.
        scale: largest change of their size, as a share.
        shift: largest move to each side, as a share of the side.
        frame: largest width of a black frame, as a share of the side; half of the images get one.
        mirror: whether half of the images are mirrored.

    Raises:
        RecipeError: another loss, or an amount out of range.

    Source:
        Task of Wang, Lan, Zhang (1709.02929); both losses in units of the crop are assumptions.
    """

    name = "landmarks"
    has_identities = False
    has_margin = False
    has_places = True
    has_own_answer = True
    lower_is_better = True

    def __init__(
        self,
        loss: Literal["l1", "l2"] = "l1",
        degrees: float = 0.0,
        scale: float = 0.0,
        shift: float = 0.0,
        frame: float = 0.0,
        mirror: bool = True,
    ) -> None:
        if loss not in ("l1", "l2"):
            raise RecipeError(f"loss is {loss!r}; expected l1 or l2. Correct it.")
        if not isinstance(mirror, bool):
            raise RecipeError(f"mirror is {mirror!r}; expected true or false. Correct it.")
        self.loss, self.mirror = loss, mirror
        self.jitter = Jitter(degrees, scale, shift, frame)
        # Mean and deviation of each coordinate, (2, 2 K), once the data are known.
        self.shape: np.ndarray | None = None

    def fill(self, cfg: Any) -> None:
        """Set the number of images, and 2 K as the answer's width.

        Also reads the mean shape of the training points, for `prepare`, and checks that all sets have the same points.
        """
        folder = Path(str(cfg.rec))
        points = read_points(folder, TRAIN)
        for name in cfg.get("val_targets") or ():
            _check_same(points, read_points(folder, str(name)))
        some = range(0, len(points), -(-len(points) // SHAPES))
        rows = np.stack([points.placed(index).reshape(-1) for index in some])
        self.shape = np.stack([rows.mean(axis=0), rows.std(axis=0)])
        if self.mirror:
            _check_mirror(points, self.shape[0].reshape(-1, 2))
        cfg.num_image, cfg.num_classes = len(points), 2
        cfg.embedding_size = 2 * len(points.names)

    def prepare(self, backbone: nn.Module) -> None:
        """Let the network start from the mean shape.

        Its last batch norm gives mean and deviation of the training points, and learns. Networks without one stay as they are.
        """
        norm = None if self.shape is None else free_last_norm(backbone, self.shape.shape[1])
        if norm is not None and self.shape is not None:
            mean, deviation = torch.from_numpy(self.shape)
            with torch.no_grad():
                norm.bias.copy_(mean)
                norm.weight.copy_(deviation)

    def data(self, request: DataRequest) -> TaskBatches:
        """Return batches: images (B, 3, 112, 112), points (B, 2 K)."""
        points = read_points(request.folder, TRAIN)
        if self.mirror and points.flip is None and rank() == 0:
            print(
                f"{points.where}: which point becomes which in a mirror is not known; nothing is mirrored", flush=True
            )
        flip = points.flip if self.mirror else None
        return TaskBatches(PointFaces(points, request.seed, self.jitter, flip), request)

    def target(self, images: int, width: int) -> Tensor:
        """Return points in the middle of the image."""
        return torch.zeros(images, width)

    def head(self, host_head: type[nn.Module]) -> type[nn.Module]:
        """Return the regression loss as a head.

        Args:
            host_head: not used.
        """
        loss = self.loss

        class PointLoss(nn.Module):
            """The distance of the found points from the given ones."""

            loss_name = loss

            def __init__(self, *_: Any, **__: Any) -> None:
                super().__init__()

            def forward(self, found: Tensor, target: Tensor) -> Tensor:
                """Return the scalar loss for (B, 2 K) and (B, 2 K)."""
                difference = found.float() - target
                if loss == "l1":
                    return difference.abs().mean()
                return difference.square().sum(dim=1).mean() / 2

        return PointLoss

    def measures(self, folder: Path, names: list[str]) -> dict[str, Measure]:
        """Return the normalised mean error on each set."""
        return {name: partial(_measured, read_points(folder, name)) for name in names}


def _check_same(train: PointSet, other: PointSet) -> None:
    if train.names != other.names:
        theirs, ours = (f"{len(one.names)} points {','.join(one.names)[:60]}" for one in (other, train))
        raise DataError(f"{other.where}: {theirs}; {train.where} has {ours}; expected the same. Correct one of both.")


def _check_mirror(points: PointSet, shape: np.ndarray) -> None:
    """Check that the mean face looks like its mirror image."""
    found = 0.0 if points.flip is None else askew(shape, points.flip)
    if found > MOST_ASKEW:
        raise DataError(
            f"{points.where}: the mirrored mean shape is {found:.2f} of its radius from itself; expected at most {MOST_ASKEW:g}. The "
            "points are in another order than the usual five or 68, or most faces look to one side: name the points left_... and "
            "right_..., or set task.mirror: false."
        )


def _measured(points: PointSet, step: int, network: nn.Module) -> Result:
    return measure_points(network, points)
