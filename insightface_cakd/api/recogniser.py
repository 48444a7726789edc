"""A trained network as an object that embeds faces."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from insightface_cakd.data.align.given import Image, face_of
from insightface_cakd.data.align.photo import Policy, Rules
from insightface_cakd.data.images import FACE_SHAPE
from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.embeddings import embed_plain
from insightface_cakd.evaluate.pairs.verdict import Threshold, threshold_on
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import Entry, read_entries
from insightface_cakd.networks.models import Embed
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.run_folder import MODEL, RunFolder

# Images in memory at a time.
CHUNK = 256


class Recogniser:
    """A network that embeds faces; `load` makes it.

    Args:
        entry: the model's name, file and network.
        embed: the loaded network.
        device: where it runs.
        detector: a detector of five points as .onnx, for photos.
        several: which face of a photo with several is taken.

    Attributes:
        width: D, of the embeddings.
    """

    def __init__(
        self,
        entry: Entry,
        embed: Embed,
        device: torch.device,
        detector: str | Path | None = None,
        several: Policy = "largest",
    ) -> None:
        self.entry = entry
        self.network = embed
        self.device = device
        self.rules = Rules(several)
        self.detector = None
        if detector is not None:
            # Half a second, which only photos need.
            from insightface_cakd.data.align.detector import Detector

            self.detector = Detector(Path(detector))
        # A file that is no recogniser of aligned faces is refused here, not at the first image.
        self.width = embed_plain(embed, np.full((1, *FACE_SHAPE), 127, np.uint8), device, 1).shape[1]

    def __repr__(self) -> str:
        network = "" if self.entry.network is None else f", network={self.entry.network!r}"
        photos = "aligned faces" if self.detector is None else "photos"
        return (
            f"<Recogniser {self.entry.name!r} of {self.entry.path}{network}: {photos} -> (N, {self.width}), "
            f"{self.entry.runtime} on {self.device}>"
        )

    def embed(self, images: Image | Iterable[Image], batch_size: int = 64) -> np.ndarray:
        """Return the embeddings of faces, float32 (N, D), not normalised.

        Shape:
            images: uint8 RGB, (N, 112, 112, 3) or (112, 112, 3); a path; or any iterable of paths and of pixels (H, W, 3), N in all.

        Args:
            batch_size: images per forward; the result does not depend on it.

        Raises:
            DataError: an image cannot be read, or its pixels are no uint8 RGB; one of another size than 112 x 112 without a detector; or
                the detector finds no face in it.
            EvaluationError: the embeddings are not finite.

        Edge cases:
            An image of another size is never resized: with a detector it is a photo, whose face is found and aligned, else an error.
            No image gives (0, D).
        """
        rows = [embed_plain(self.network, faces, self.device, batch_size) for faces in self._chunks(_each(images))] or [
            np.empty((0, self.width))
        ]
        return np.concatenate(rows).astype(np.float32)

    def faces(self, images: Image | Iterable[Image]) -> np.ndarray:
        """Return the aligned faces that `embed` sees.

        They are uint8 (N, 112, 112, 3) RGB.

        Shape:
            images: see `embed`.
        """
        return np.concatenate([np.empty((0, *FACE_SHAPE), np.uint8), *self._chunks(_each(images))])

    def threshold(self, path: str | Path, far: float | None = None) -> Threshold:
        """Measure the cosine above which two faces count as one person's.

        Args:
            path: a `.bin` verification set of images like those that will be compared.
            far: take the threshold that accepts at most this share of the set's different pairs; the most accurate one when not given.

        Raises:
            DataError: the set cannot be read.
            EvaluationError: it cannot be judged in ten folds, or has too few different pairs for the share.
        """
        return threshold_on(Path(path), self.network, Execution(self.device), far)

    def _chunks(self, images: Iterator[Image]) -> Iterator[np.ndarray]:
        start = 0
        while chunk := list(islice(images, CHUNK)):
            faces = [
                face_of(image, self.detector, self.rules, f"image {number}")
                for number, image in enumerate(chunk, start=start)
            ]
            start += len(chunk)
            yield np.stack(faces)


def load(
    model: str | Path | RunFolder,
    *,
    network: str | None = None,
    detector: str | Path | None = None,
    several: Policy = "largest",
    device: str | None = None,
) -> Recogniser:
    """Load a model that embeds faces.

    Args:
        model: the output folder of a run or what `train` returned; an .onnx; or .pt weights.
        network: name of the network of bare weights; a run's folder and an .onnx know their own.
        detector: a detector of five points as .onnx, such as an SCRFD. With it `embed` takes photos too.
        several: which face of a photo with several is taken: the `largest`, the most `central`, or none of them (`skip`).
        device: cuda, mps or cpu; the best there is when not given.

    Raises:
        EvaluationError: there is no model, it is damaged, or it does not give embeddings of faces.
        DataError: the detector is missing or is none.
    """
    place = choose_device(device)
    (entry,) = read_entries([place_of(model)], network)
    return Recogniser(entry, entry.load(get_model, place), place, detector, several)


def place_of(model: str | Path | RunFolder | Recogniser) -> str:
    """Return the path of a model, as commands take it.

    Args:
        model: a path, a run, or a loaded model.
    """
    if isinstance(model, Recogniser):
        path = model.entry.path
        # A run's folder says more of the model than its weights do.
        return str(path.parent if path.name == MODEL and RunFolder(path.parent).network else path)
    return str(model.path if isinstance(model, RunFolder) else model)


def _each(images: Image | Iterable[Image]) -> Iterator[Image]:
    """Yield images one by one."""
    if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim == 3):
        yield images
    elif isinstance(images, Iterable):
        yield from images
    else:
        raise DataError(
            f"images: a {type(images).__name__}; expected a path, pixels, or several of them. Convert them to a list."
        )
