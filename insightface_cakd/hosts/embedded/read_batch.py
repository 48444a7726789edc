"""A batch as it is read, and how it becomes input."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from insightface_cakd.errors import DataError
from insightface_cakd.hosts.embedded.shared_pixels import SharedPixels, Turn


@dataclass
class Read:
    """A batch as it was read.

    Layout, mirror images and range are left to the device: on a GPU they cost nothing beside a step, in a worker a fifth of decoding.

    Args:
        pixels: uint8 (B, H, W, 3) RGB, or where they lie.
        rest: labels or targets (B, ...), and any landmarks.
        mirrored: int64 (M,), the rows that are still to be mirrored.
    """

    pixels: Tensor | Turn
    rest: list[Any]
    mirrored: np.ndarray | None = None

    def on(self, device: torch.device) -> list[Tensor]:
        """Return the images as the network's input, and the rest.

        Images are float32 (B, 3, H, W) RGB in [-1, 1].

        Args:
            device: of the run.
        """
        assert isinstance(self.pixels, Tensor)
        pixels, *rest = (_moved(part, device) for part in (self.pixels, *self.rest))
        if self.mirrored is not None:
            pixels = _with_mirrored(pixels, self.mirrored)
        return [normalised(pixels), *rest]


def _with_mirrored(pixels: Tensor, rows: np.ndarray) -> Tensor:
    """Return images (B, H, W, 3), some of them mirrored, by copies of whole images alone."""
    taken = np.arange(len(pixels))
    taken[rows] = len(pixels) + np.arange(len(rows))
    mirrored = pixels.index_select(0, _moved(rows, pixels.device)).flip(2)  # (M, H, W, 3)
    return torch.cat((pixels, mirrored)).index_select(0, _moved(taken, pixels.device))


def _moved(part: Tensor | np.ndarray, device: torch.device) -> Tensor:
    whole = torch.as_tensor(part)
    # From other memory a copy would wait for all that the device has to do.
    return whole.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else whole.to(device)


def normalised(pixels: Tensor) -> Tensor:
    """Return bytes (B, H, W, 3) as float32 (B, 3, H, W).

    They are arcface_torch's (x / 255 - 0.5) / 0.5 to the last bit, as factors of two change no rounding.
    """
    planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)  # (B, 3, H, W)
    return planes.div_(127.5).sub_(1)


def collate(items: Any) -> Read | DataError:
    """Return a batch of items, or its first error.

    Args:
        items: pairs (uint8 (3, H, W), target), with errors among them; or what a data set has made of them itself.
    """
    if isinstance(items, Read | DataError):
        return items
    error = next((item for item in items if isinstance(item, DataError)), None)
    if error is not None:
        return error
    pixels, *rest = default_collate(items)
    return Read(pixels.permute(0, 2, 3, 1), rest)


def read_batches(batches: Iterator[Any], shared: SharedPixels | None) -> Iterator[Read]:
    """Yield a loader's batches; raise its first error, as `collate` found it.

    Args:
        batches: an iterator of the loader.
        shared: where its data set puts the pixels; a batch is then whole until the next one is asked for.
    """
    for batch in batches:
        if isinstance(batch, DataError):
            raise batch
        if shared is not None:
            batch.pixels = shared.at(batch.pixels)
        yield batch
