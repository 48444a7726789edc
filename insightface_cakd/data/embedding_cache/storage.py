"""Forms in which a cache keeps an embedding: bytes of a row."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.errors import TeacherError


class Storage(Protocol):
    """A form of rows of D numbers."""

    title: str
    file: str

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row of `width` numbers."""

    def encode(self, embeddings: Tensor) -> np.ndarray:
        """Return embeddings (B, D) as uint8 (B, row bytes)."""

    def decode(self, rows: np.ndarray) -> Tensor:
        """Return rows as float32 (B, D) on the CPU."""


class Half:
    """Half precision: 11 bits of each number."""

    title, file = "half precision", "embeddings.f16"

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row of `width` numbers."""
        return 2 * width

    def encode(self, embeddings: Tensor) -> np.ndarray:
        """Return embeddings (B, D) as uint8 (B, 2 D)."""
        return embeddings.to(torch.float16).cpu().numpy().view(np.uint8)

    def decode(self, rows: np.ndarray) -> Tensor:
        """Return rows as float32 (B, D)."""
        return torch.from_numpy(np.ascontiguousarray(rows).view(np.float16).astype(np.float32))


class Int8:
    """Eight bits of each number, and the row's scale in half precision.

    x = scale * q, q in -127..127, scale = max |x| / 127.
    """

    title, file = "int8", "embeddings.i8"

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row of `width` numbers."""
        return width + 2

    def encode(self, embeddings: Tensor) -> np.ndarray:
        """Return embeddings (B, D) as uint8 (B, D + 2)."""
        scales = (embeddings.abs().amax(dim=1, keepdim=True) / 127).to(torch.float16)
        levels = (embeddings / scales.float()).nan_to_num().round().clamp(-127, 127).to(torch.int8)
        parts = levels.cpu().numpy().view(np.uint8), scales.cpu().numpy().view(np.uint8)
        return np.concatenate(parts, axis=1)

    def decode(self, rows: np.ndarray) -> Tensor:
        """Return rows as float32 (B, D)."""
        levels = np.ascontiguousarray(rows[:, :-2]).view(np.int8).astype(np.float32)
        scales = np.ascontiguousarray(rows[:, -2:]).view(np.float16).astype(np.float32)
        return torch.from_numpy(levels * scales)


FLOAT16, INT8 = "float16", "int8"
STORAGES: dict[str, Storage] = {FLOAT16: Half(), INT8: Int8()}
# Largest change of an embedding, relative to its length. Half precision keeps 11 bits, a relative error of at most 5e-4, and int8 at most
# half a level of each number: more means values outside their range.
WORST = {FLOAT16: 1e-3, INT8: 0.05}


def encoded(embeddings: Tensor, storage: str, teacher: str) -> np.ndarray:
    """Return embeddings as rows of a form, uint8 (B, row bytes).

    Args:
        embeddings: (B, D), float32.
        storage: a key of `STORAGES`.
        teacher: whose they are, for the message.

    Raises:
        TeacherError: the form changes an embedding too much.
    """
    form, worst = STORAGES[storage], WORST[storage]
    rows = form.encode(embeddings)
    said = embeddings.cpu()
    error = ((form.decode(rows) - said).norm(dim=1) / said.norm(dim=1).clamp_min(1e-12)).max().item()
    if not error < worst:
        raise TeacherError(
            f"teacher {teacher}: {form.title} changes an embedding by {error:.2g} of its length (largest value "
            f"{said.abs().max().item():.3g}); expected less than {worst}. Are its weights and its input range right?"
        )
    return rows
