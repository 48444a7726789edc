"""Training images, from records or folders or synthetic, as batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from insightface_cakd.data.folder_faces import FolderFaces
from insightface_cakd.data.folders import skipped_line
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.label_order import LabelOrder, order_of
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError, RunError
from insightface_cakd.hosts.embedded.landmarks import mirror, read_landmarks
from insightface_cakd.hosts.embedded.utils.utils_distributed_sampler import DistributedSampler
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.runtime.workers import workers_with_patience

_SYNTHETIC_IMAGES = 4096
_SYNTHETIC_CLASSES = 64


_Item = tuple[Tensor, int] | tuple[Tensor, int, Tensor]


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
    """Faces as uint8 (3, 112, 112), randomly mirrored.

    For a record that cannot be read the item is the error itself, which the consumer raises: it arrives as one exception,
    not as a worker's traceback. `faces` has items (uint8 (112, 112, 3), label).
    """

    def __init__(self, faces: Any, seed: int) -> None:
        super().__init__(seed)
        self.faces = faces
        self.landmarks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> _Item | DataError:
        try:
            rgb, label = self.faces[index]
        except DataError as error:
            return error
        mirrored = self.random(index).random() < 0.5
        if mirrored:
            rgb = rgb[:, ::-1]
        pixels = as_bytes(rgb)
        if self.landmarks is None:
            return pixels, label
        points = self.landmarks[index]
        return pixels, label, torch.from_numpy(mirror(points) if mirrored else points.copy())


class _SyntheticFaces:
    """Noise images, each from its own seed, to time a step."""

    num_classes = _SYNTHETIC_CLASSES

    def __len__(self) -> int:
        return _SYNTHETIC_IMAGES

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        pixels = np.random.default_rng(index).integers(0, 256, (FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
        return pixels, index % _SYNTHETIC_CLASSES

    def labels(self) -> np.ndarray:
        """Return the label of every item."""
        return np.arange(_SYNTHETIC_IMAGES) % _SYNTHETIC_CLASSES


def collate(items: list[_Item | DataError]) -> list[Tensor] | DataError:
    """Return a batch's images, labels and any landmarks, or its first error."""
    error = next((item for item in items if isinstance(item, DataError)), None)
    return error if error is not None else default_collate(items)


def read_batches(batches: Iterator[Any]) -> Iterator[list[Tensor]]:
    """Yield a loader's batches; raise its first error, as `collate` found it."""
    for batch in batches:
        if isinstance(batch, DataError):
            raise batch
        yield batch


class Batches:
    """Batches `[images, labels]` on the device.

    Images are float32 (B, 3, 112, 112), RGB in [-1, 1]; labels are int64 (B,). After `with_landmarks` each batch ends
    with float32 (B, 5, 2), mirrored as its images are.

    The loader gives uint8 images on the CPU: they are copied to the device as bytes and normalised there. An exception in
    a worker is raised here; nothing waits for a dead thread.
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
        return None if isinstance(faces, _SyntheticFaces) else order_of(faces, data)

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
        for batch in read_batches(iter(self.loader)):
            pixels, *rest = (part.to(self.device, non_blocking=True) for part in batch)
            yield [pixels.float().div_(255).sub_(0.5).div_(0.5), *rest]


def open_faces(root_dir: str) -> Any:
    """Open "synthetic", a folder with train.rec, or one of people."""
    if root_dir == "synthetic":
        return _SyntheticFaces()
    folder = Path(root_dir)
    if (folder / "train.rec").exists():
        return FaceRecords(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; expected train.rec and train.idx, or one folder of images per person. Correct rec."
        )
    return FolderFaces(folder)


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
    faces: Any, root_dir: str, batch_size: int, seed: int, num_workers: int, device: torch.device
) -> Batches:
    """Return this rank's batches of images that are open, as `get_dataloader`.

    Args:
        faces: items (uint8 (112, 112, 3) RGB, label).
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
        FlippedFaces(faces, seed),
        batch_size=batch_size,
        sampler=sampler,
        **loader_settings(seed, num_workers, device),
    )
    return Batches(loader, device)


def loader_settings(seed: int, num_workers: int, device: torch.device) -> dict[str, Any]:
    """Return what every loader of this package is made with.

    Workers take their seeds from a generator of the loader's own: otherwise each start of workers would draw from torch's, and a resumed
    run would draw other numbers than one that was not stopped. Workers that give nothing for a while end the run, see
    `workers_with_patience`.

    Args:
        seed: of the run.
        num_workers: reading processes.
        device: of the run.
    """
    return {
        "num_workers": num_workers,
        "drop_last": True,
        "collate_fn": collate,
        "pin_memory": device.type == "cuda",
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
