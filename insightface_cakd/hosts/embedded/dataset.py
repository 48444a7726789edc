"""Training images, from records or folders or synthetic, as batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from insightface_cakd.data.aligned_faces import AlignedFaces
from insightface_cakd.data.face_folder import open_face_folder
from insightface_cakd.data.folder_faces import FolderFaces
from insightface_cakd.data.folders import skipped_line
from insightface_cakd.data.label_order import LabelOrder, order_of
from insightface_cakd.errors import DataError, RunError
from insightface_cakd.hosts.embedded.draws import first_below_half
from insightface_cakd.hosts.embedded.landmarks import mirror, read_landmarks
from insightface_cakd.hosts.embedded.read_batch import Read, collate, read_batches
from insightface_cakd.hosts.embedded.shared_pixels import PREFETCH, SharedPixels
from insightface_cakd.hosts.embedded.synthetic_faces import SyntheticFaces
from insightface_cakd.hosts.embedded.utils.utils_distributed_sampler import DistributedSampler
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.runtime.workers import workers_with_patience


class SeededDataset(Dataset[Any]):
    """A data set whose augmentation depends on (seed, epoch, index) only.

    So it does not matter which worker reads an image, or whether a run was stopped before.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Shared with worker processes that outlive an epoch.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def random(self, index: int) -> np.random.Generator:
        """Return the source of everything random about an item."""
        return np.random.default_rng((self.seed, int(self.epoch), index))


def as_bytes(image: np.ndarray) -> Tensor:
    """Return an image (H, W, 3) as uint8 (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


class FlippedFaces(SeededDataset):
    """Whole batches of faces as bytes, randomly mirrored.

    For a record that cannot be read the batch is the error itself, which the consumer raises: it arrives as one exception, not as a
    worker's traceback.

    Args:
        faces: the images.
        seed: of the mirror images.
        shared: where the pixels go; its batches are those of the loader.
    """

    def __init__(self, faces: AlignedFaces, seed: int, shared: SharedPixels) -> None:
        super().__init__(seed)
        self.faces, self.shared = faces, shared
        self.landmarks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.faces)

    def __getitems__(self, indices: list[int]) -> Read | DataError:
        place, pixels = self.shared.take()
        labels = np.empty(len(indices), np.int64)
        try:
            for row, index in enumerate(indices):
                labels[row] = self.faces.read_into(index, pixels[row])
        except DataError as error:
            return error
        # What `random(index).random() < 0.5` says.
        mirrored = np.flatnonzero(first_below_half((self.seed, int(self.epoch)), np.array(indices)))
        if self.landmarks is None:
            return Read(place, [labels], mirrored)
        points = self.landmarks[indices]
        for row in mirrored.tolist():
            points[row] = mirror(points[row])
        return Read(place, [labels, points], mirrored)


class Batches:
    """Batches `[images, labels]` on the device.

    Images are float32 (B, 3, 112, 112), RGB in [-1, 1]; labels are int64 (B,). After `with_landmarks` each batch ends
    with float32 (B, 5, 2), mirrored as its images are.

    The loader gives bytes, which the device makes images of, see `Read`. An exception in a worker is raised here; nothing waits for a
    dead thread.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader = loader
        self.device = device

    def __len__(self) -> int:
        return len(self.loader)

    def label_order(self, data: str) -> LabelOrder | None:
        """Return the identity of the labels; None for noise.

        Args:
            data: where the images are.
        """
        faces = self.loader.dataset.faces  # type: ignore[attr-defined]
        return None if isinstance(faces, SyntheticFaces) else order_of(faces, data)

    def with_landmarks(self, folder: Path) -> None:
        """Read the landmarks of every image once; see `read_landmarks`."""
        dataset: Any = self.loader.dataset
        dataset.landmarks = read_landmarks(folder, len(dataset))

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Set the epoch, from 0, that determines order and flips.

        Args:
            epoch: number of the epoch.
            first: the batch to begin with.
        """
        self.loader.sampler.set_epoch(epoch, first * (self.loader.batch_size or 1))  # type: ignore[attr-defined]
        self.loader.dataset.epoch.fill_(epoch)  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[list[Tensor]]:
        shared = self.loader.dataset.shared  # type: ignore[attr-defined]
        for read in read_batches(iter(self.loader), shared):
            yield read.on(self.device)


def open_faces(root_dir: str) -> Any:
    """Open "synthetic", a folder with train.rec or shards.yaml, or one of people."""
    if root_dir == "synthetic":
        return SyntheticFaces()
    folder = Path(root_dir)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; expected train.rec and train.idx, or one folder of images per person. Correct rec."
        )
    return open_face_folder(folder)


def get_dataloader(
    root_dir: str,
    local_rank: int,
    batch_size: int,
    dali: bool = False,
    dali_aug: bool = False,
    seed: int = 2048,
    num_workers: int = 2,
    device: torch.device | None = None,
    num_classes: int | None = None,
) -> Batches:
    """Return this rank's batches, without the last incomplete one of an epoch.

    Args:
        local_rank: gives the device if `device` is None: CUDA device `local_rank`, or the CPU.
        dali: not supported here.
        dali_aug: not supported here.
        num_workers: reading processes; 0 reads in this one.
        num_classes: labels must lie below it; None checks nothing.
    """
    if dali or dali_aug:
        raise RunError(
            "dali: the embedded host reads records itself; expected dali=False. Train on an arcface_torch checkout to use DALI."
        )
    faces = open_faces(root_dir)
    if isinstance(faces, FolderFaces) and faces.skipped and rank() == 0:
        print(f"{root_dir}: {skipped_line(faces.skipped)}", flush=True)
    if faces.num_classes < 2:
        raise DataError(
            f"{root_dir}: one person; training needs at least 2. Add folders of people, and pack them again."
        )
    if num_classes is not None:
        _check_labels(faces.labels(), num_classes, root_dir)
    if device is None:
        device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    return batches_of(faces, root_dir, batch_size, seed, num_workers, device)


def batches_of(
    faces: AlignedFaces, root_dir: str, batch_size: int, seed: int, num_workers: int, device: torch.device
) -> Batches:
    """Return this rank's batches of images that are open, as `get_dataloader`.

    Args:
        faces: the images.
        root_dir: where they are, for errors.

    Raises:
        RunError: there is less than one batch for each rank.
    """
    sampler = DistributedSampler(len(faces), world_size(), rank(), seed)
    if len(sampler) < batch_size:
        raise RunError(
            f"{root_dir}: {len(sampler)} images per rank; expected at least one batch of {batch_size}. Lower batch_size."
        )
    loader = DataLoader(
        FlippedFaces(faces, seed, SharedPixels(num_workers, batch_size)),
        batch_size=batch_size,
        sampler=sampler,
        **loader_settings(seed, num_workers),
    )
    return Batches(loader, device)


def loader_settings(seed: int, num_workers: int) -> dict[str, Any]:
    """Return what every loader of this package is made with.

    Workers take their seeds from a generator of the loader's own: otherwise each start of workers would draw from torch's, and a resumed
    run would draw other numbers than one that was not stopped. Workers that give nothing for a while end the run, see
    `workers_with_patience`.

    Args:
        seed: of the run.
        num_workers: reading processes.
    """
    return {
        "num_workers": num_workers,
        "drop_last": True,
        "collate_fn": collate,
        "prefetch_factor": PREFETCH if num_workers else None,
        "persistent_workers": num_workers > 0,
        "generator": torch.Generator().manual_seed(seed),
        **workers_with_patience(num_workers),
    }


def _check_labels(labels: np.ndarray, num_classes: int, where: str) -> None:
    """Check that every label, (N,), has a class centre."""
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(outside):
        first = int(outside[0])
        raise RunError(
            f"{where}: image {first} has label {labels[first]}, and {len(outside)} images like it are outside [0, {num_classes}); expected "
            f"labels below num_classes. Set num_classes to {int(labels.max()) + 1}, or pack the data again."
        )
