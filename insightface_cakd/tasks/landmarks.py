"""The task of facial landmarks: regression of five points."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.landmarks import PointSet, read_points
from insightface_cakd.errors import DataError, RecipeError
from insightface_cakd.hosts.embedded.landmarks import MIRRORED
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.report.result import Result
from insightface_cakd.tasks.batches import TaskBatches
from insightface_cakd.tasks.task import DataRequest, Measure, Task

EYES = (0, 1)
BATCH = 64
# Maximum number of images from which the mean shape is taken.
SHAPES = 1000


class Landmarks(Task):
    """Train a network to find points on the face.

    Its answer is x and y of each point, p = 2 x / width - 1.

    Data: `<rec>/train.csv` with `<rec>/train/`, and a CSV and folder for each name in `val_targets` (see `read_points`). Images are resized
    to 112 x 112, mirrored at random in training. The student's last layer gets 2 K outputs.

    Args:
        loss: `l1`, mean of |p - t| over points and axes; `l2`, half the squared distance summed over points, mean over images.

    Raises:
        RecipeError: another loss.

    Source:
        Task of Wang, Lan, Zhang (1709.02929); both losses in units of the crop are assumptions.
    """

    name = "landmarks"
    has_identities = False
    has_classes = False
    has_places = True
    lower_is_better = True

    def __init__(self, loss: Literal["l1", "l2"] = "l1") -> None:
        if loss not in ("l1", "l2"):
            raise RecipeError(f"loss is {loss!r}; expected l1 or l2. Correct it.")
        self.loss = loss
        # Mean and deviation of each coordinate, (2, 2 K), once the data are known.
        self.shape: np.ndarray | None = None

    def fill(self, cfg: Any) -> None:
        """Set the number of images, and 2 K as the answer's width.

        Also reads the mean shape of the training points, for `prepare`.
        """
        points = read_points(Path(str(cfg.rec)), "train")
        some = range(0, len(points), -(-len(points) // SHAPES))
        rows = np.stack([points.placed(index).reshape(-1) for index in some])
        self.shape = np.stack([rows.mean(axis=0), rows.std(axis=0)])
        cfg.num_image, cfg.num_classes = len(points), 2
        cfg.embedding_size = 2 * len(points.names)

    def prepare(self, backbone: nn.Module) -> None:
        """Let the network start from the mean shape.

        Its last batch norm gives mean and deviation of the training points, and learns. Recognisers end with a batch norm, in some of them
        with a frozen weight of 1: no scale for coordinates. Other networks stay as they are.
        """
        last = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)][-1:]
        for norm in last:
            if self.shape is not None and norm.affine and norm.num_features == self.shape.shape[1]:
                mean, deviation = torch.from_numpy(self.shape)
                with torch.no_grad():
                    norm.bias.copy_(mean)
                    norm.weight.copy_(deviation)
                norm.weight.requires_grad_(True)
                norm.bias.requires_grad_(True)

    def data(self, request: DataRequest) -> TaskBatches:
        """Return batches: images (B, 3, 112, 112), points (B, 2 K)."""
        return TaskBatches(PointFaces(read_points(request.folder, "train"), request.seed), request)

    def target(self, images: int, width: int) -> Tensor:
        """Return points in the middle of the image."""
        return torch.zeros(images, width)

    def head(self) -> type[nn.Module]:
        """Return the regression loss as a head."""
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


class PointFaces(Dataset[tuple[Tensor, Tensor] | DataError]):
    """Images uint8 (3, 112, 112) and points (2 K,), mirrored at random.

    Whether a face is mirrored depends on (seed, epoch, index).
    """

    def __init__(self, points: PointSet, seed: int) -> None:
        self.points, self.seed = points, seed
        # Shared with worker processes that outlive an epoch.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor] | DataError:
        try:
            rgb = self.points.image(index)
        except DataError as error:
            return error
        placed = self.points.placed(index, rgb)
        image = _resized(rgb)
        if self._mirrors(index):
            image, placed = image[:, ::-1], mirror(placed)
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return pixels, torch.from_numpy(np.ascontiguousarray(placed, dtype=np.float32).reshape(-1))

    def _mirrors(self, index: int) -> bool:
        if len(self.points.names) != len(MIRRORED):
            return False
        return bool(np.random.default_rng((self.seed, int(self.epoch), index)).random() < 0.5)


def _resized(rgb: np.ndarray) -> np.ndarray:
    return cv2.resize(rgb, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LINEAR)


def mirror(points: np.ndarray) -> np.ndarray:
    """Return five points of the mirrored image, (5, 2) in [-1, 1]."""
    return points[list(MIRRORED)] * np.array([-1, 1], points.dtype)


@dataclass(frozen=True)
class PointError(Result):
    """Normalised error of found points, as a fraction of the eye distance.

    Args:
        failures: share of images whose mean lies above 0.1.
    """

    nme: float
    failures: float
    images: int

    @property
    def value(self) -> float:
        """The normalised mean error."""
        return self.nme

    def rows(self) -> list[dict[str, str]]:
        """Return the table of one line."""
        return [
            {
                "NME (eye centres)": f"{self.nme:.4f}",
                "above 0.1": f"{100 * self.failures:.1f} %",
                "images": str(self.images),
            }
        ]

    def lines(self) -> list[str]:
        """Return how it was measured."""
        return ["NME: mean distance from the given points, divided by the distance of the eye centres."]

    def facts(self) -> dict[str, float]:
        """Return every number by its name."""
        return {"nme_eye_centres": self.nme, "failure_rate_0.1": self.failures, "images": float(self.images)}


def _measured(points: PointSet, step: int, network: nn.Module) -> Result:
    return measure_points(network, points)


@torch.no_grad()
def measure_points(network: nn.Module, points: PointSet) -> PointError:
    """Return the normalised mean error of a network answering (B, 2 K).

    mean_i mean_k |p_ik - t_ik| / |t_i,left eye - t_i,right eye|, in the image's pixels; the first two points are the eyes.
    """
    device = next(network.parameters()).device
    found, shapes = [], []
    with evaluating(network):
        for start in range(0, len(points), BATCH):
            faces = [points.image(index) for index in range(start, min(start + BATCH, len(points)))]
            shapes += [face.shape[1::-1] for face in faces]
            pixels = torch.from_numpy(np.stack([_resized(face).transpose(2, 0, 1) for face in faces]))
            found.append(network(pixels.to(device).float().div_(127.5).sub_(1)).float().cpu())
    answers = torch.cat(found).view(len(points), -1, 2).numpy()
    sizes = np.array(shapes, np.float32)[:, None]  # (N, 1, 2)
    distances = np.linalg.norm((answers + 1) / 2 * sizes - points.points, axis=2)  # (N, K)
    apart = np.linalg.norm(points.points[:, EYES[0]] - points.points[:, EYES[1]], axis=1)
    errors = distances.mean(axis=1) / np.maximum(apart, 1e-6)
    return PointError(float(errors.mean()), float((errors > 0.1).mean()), len(points))
