"""Measures a network that answers with landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.landmarks.crop import LANDMARK_SIZE
from insightface_cakd.data.landmarks.points import PointSet, to_pixels, to_units
from insightface_cakd.data.landmarks.sets import read_points, set_names
from insightface_cakd.errors import DataError, EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.landmarks.errors import THRESHOLD, image_errors, normalisers, summarise
from insightface_cakd.evaluate.landmarks.pictures import face_galleries
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.report.result import Gallery, Result
from insightface_cakd.report.tables import Row

MODEL, SHAPE, BOX_SHAPE = "model", "mean shape", "mean shape in the true box"
TRAIN = "train"
# Faces of a page: so many with the largest errors, and as many about the median.
SHOWN = 6


@dataclass(frozen=True, eq=False)
class PointErrors(Result):
    """Errors of found points, beside those of mean shapes.

    Args:
        points: the set.
        found: (N, K, 2), pixels, of the network.
        floors: name -> (N, K, 2), points found without looking.
        notes: how the floors were made.
    """

    points: PointSet
    found: np.ndarray
    floors: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()

    def errors(self, normaliser: str, who: str = MODEL) -> np.ndarray:
        """Return each image's error (N,), of network or floor."""
        lengths = normalisers(self.points.names)[normaliser](self.points.points)
        return image_errors(self.found if who == MODEL else self.floors[who], self.points.points, lengths)

    @property
    def usual(self) -> str:
        """The normaliser usual for so many points."""
        return next(iter(normalisers(self.points.names)))

    @property
    def verdict(self) -> str:
        """The error beside that of the mean shape."""
        said = f"NME by {self.usual.replace('_', ' ')}: {100 * self.value:.2f} %"
        if SHAPE not in self.floors:
            return f"{said}."
        floor = float(self.errors(self.usual, SHAPE).mean())
        compared = f"{said}, against {100 * floor:.2f} % with the mean shape, which looks at no image"
        return f"{compared}: the model has learnt nothing." if self.value >= floor else f"{compared}."

    @property
    def value(self) -> float:
        """The normalised mean error, by the usual normaliser."""
        return float(self.errors(self.usual).mean())

    def rows(self) -> list[Row]:
        """Return a line for each normaliser of network and floors."""
        lines: list[Row] = []
        for who in (MODEL, *self.floors):
            for normaliser in normalisers(self.points.names):
                one = summarise(self.errors(normaliser, who))
                lines.append(
                    {
                        "points of": who,
                        "normaliser": normaliser.replace("_", " "),
                        "NME": f"{one.nme:.4f}",
                        "median": f"{one.median:.4f}",
                        f"failures at {THRESHOLD:g}": f"{100 * one.failures:.1f} %",
                        f"AUC at {THRESHOLD:g}": f"{one.auc:.4f}",
                        "images": str(len(self.points)),
                    }
                )
        return lines

    def lines(self) -> list[str]:
        """Return how it was measured."""
        return [
            "NME: mean over images of the mean distance from the given points, divided by the normaliser's length.",
            f"AUC: area under the cumulative distribution of errors up to {THRESHOLD:g}, divided by {THRESHOLD:g}.",
            *self.notes,
        ]

    def facts(self) -> dict[str, float]:
        """Return the network's numbers and the floors' mean errors."""
        facts: dict[str, float] = {}
        for normaliser in normalisers(self.points.names):
            one = summarise(self.errors(normaliser))
            facts |= {
                f"nme_{normaliser}": one.nme,
                f"median_{normaliser}": one.median,
                f"failure_rate_{THRESHOLD:g}_{normaliser}": one.failures,
                f"auc_{THRESHOLD:g}_{normaliser}": one.auc,
            }
            facts |= {
                f"nme_{normaliser}_{who.replace(' ', '_')}": float(self.errors(normaliser, who).mean())
                for who in self.floors
            }
        return facts | {"images": float(len(self.points))}

    def galleries(self) -> Sequence[Gallery]:
        """Return the faces with the largest errors, and those about the median."""
        return face_galleries(self.points, self.found, self.errors(self.usual), SHOWN)


class FullErrors(PointErrors):
    """The same, whose facts also list every image's error."""

    def facts(self) -> dict[str, Any]:
        """Return every number, and the error of each image in order."""
        each = {
            normaliser: [round(float(error), 6) for error in self.errors(normaliser)]
            for normaliser in normalisers(self.points.names)
        }
        return {**super().facts(), "image_errors": each}


def measure_set(network: Embed, folder: Path, name: str, execution: Execution) -> FullErrors:
    """Measure a network on a set, beside the mean shape."""
    points = read_points(folder, name)
    found = find_points(network, points, execution)
    source = read_points(folder, TRAIN) if name != TRAIN and TRAIN in set_names(folder) else points
    if len(source.names) != len(points.names):
        raise DataError(
            f"{folder}: {len(points.names)} points in {name}, {len(source.names)} in {TRAIN}; expected as many."
        )
    own = "" if source is not points else ", which makes the floor lower than it is"
    notes = (f"{SHAPE}: that of {source.where}{own}; in the true box: scaled into the box of the given points.",)
    return FullErrors(points, found, shape_floors(points, source), notes)


@torch.no_grad()
def find_points(network: Embed, points: PointSet, execution: Execution) -> np.ndarray:
    """Return the points (N, K, 2), pixels, that a network finds.

    Images are resized to the side that the network takes: its `input_size`, else 112.
    """
    side = getattr(network, "input_size", FACE_SIZE)
    found = []
    with execution.bar("landmarks") as progress:
        for start in range(0, len(points), execution.batch_size):
            faces = [points.image(index) for index in range(start, min(start + execution.batch_size, len(points)))]
            sizes = np.array([face.shape[1::-1] for face in faces], np.float32)[:, None]
            pixels = torch.from_numpy(np.stack([resized(face, side).transpose(2, 0, 1) for face in faces]))
            answer = network(pixels.to(execution.device).float().div_(127.5).sub_(1)).float().cpu().numpy()
            _check_answer(answer, points)
            units = answer.reshape(len(faces), -1, 2)
            # InsightFace's contract: p = x / 96 - 1, where 0 is the centre of the first of 192 pixels.
            found.append(to_pixels(units + 1 / side if side == LANDMARK_SIZE else units, sizes))
            progress(start + len(faces), len(points))
    return np.concatenate(found)


def measure_points(network: nn.Module, points: PointSet, batch_size: int = 64) -> PointErrors:
    """Return the errors of a network in training."""
    with evaluating(network):
        found = find_points(network, points, Execution(next(network.parameters()).device, batch_size))
    return PointErrors(points, found, {})


def resized(rgb: np.ndarray, side: int = FACE_SIZE) -> np.ndarray:
    """Return an image stretched to a square, uint8 (side, side, 3)."""
    return cv2.resize(rgb, (side, side), interpolation=cv2.INTER_LINEAR)


def shape_floors(points: PointSet, source: PointSet) -> dict[str, np.ndarray]:
    """Return each image's points (N, K, 2) by a mean shape.

    Once at its place in the image, once scaled and moved so that its box is that of the image's given points.

    Args:
        points: the set that is measured.
        source: the set with the mean shape.
    """
    sizes = np.array([points.image(index).shape[1::-1] for index in range(len(points))], np.float32)[:, None]
    theirs = [source.image(index).shape[1::-1] for index in range(len(source))] if source is not points else sizes[:, 0]
    mean = np.mean([to_units(one, tuple(size)) for one, size in zip(source.points, theirs, strict=True)], axis=0)
    boxed = np.mean([_in_box(one) for one in source.points], axis=0)
    low, high = points.points.min(axis=1, keepdims=True), points.points.max(axis=1, keepdims=True)
    placed = to_pixels(np.broadcast_to(mean.astype(np.float32), points.points.shape), sizes)
    return {SHAPE: placed, BOX_SHAPE: low + boxed.astype(np.float32) * (high - low)}


def _in_box(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / np.maximum(high - low, 1e-6)


def _check_answer(answer: np.ndarray, points: PointSet) -> None:
    if answer.ndim != 2 or answer.shape[1] != 2 * len(points.names):
        raise EvaluationError(
            f"{points.where}: {len(points.names)} points, the network answers {answer.shape[1:]}; expected {2 * len(points.names)} "
            "numbers, x and y of each. Measure it on the points that it was trained for."
        )
