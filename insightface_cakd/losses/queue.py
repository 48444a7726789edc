"""Features of earlier steps, for losses that need many images."""

from typing import Literal

import torch
from torch import Tensor, nn

from insightface_cakd.errors import ShapeError
from insightface_cakd.losses.base import EPS

Start = Literal["empty", "random"]


class FeatureQueue(nn.Module):
    """The last `size` rows that were pushed, with their labels.

    Everything is a buffer, so a checkpoint saves it and a resumed run goes on exactly. Fed with the rows of all ranks, every rank keeps
    one equal copy; nothing here talks to other ranks or waits for the device. Width, dtype and device are those of the first
    rows; until then `rows` is (size, 0), and a saved queue of any width loads into it.

    Shape:
        rows: (size, D). labels: (size,), int64. count: (), how many rows are filled. cursor: (), where the next row goes.

    Args:
        size: number of rows, >= 1.
        start: "empty", or "random": filled with random unit rows, the same on every rank and in every run, drawn without touching
            the global random state.
    """

    rows: Tensor
    labels: Tensor
    count: Tensor
    cursor: Tensor

    def __init__(self, size: int, start: Start = "empty") -> None:
        super().__init__()
        self.size, self.start = size, start
        self.register_buffer("rows", torch.zeros(size, 0))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.int64))

    def fit(self, like: Tensor) -> "FeatureQueue":
        """Take width, dtype and device of rows before `rows` is read."""
        if self.rows.shape[1] == 0:
            self._allocate(like)
        if self.rows.shape[1] != like.shape[1]:
            raise ShapeError(
                f"queue: holds rows of width {self.rows.shape[1]}, and got width {like.shape[1]}; expected one width through a run. Resume "
                "with the teacher and student of the saved run, or start a new one."
            )
        if self.rows.device != like.device:
            self.to(like.device)
        return self

    def filled(self) -> Tensor:
        """Return which rows hold something, (size,) boolean."""
        return torch.arange(self.size, device=self.count.device) < self.count

    @torch.no_grad()
    def push(self, rows: Tensor, labels: Tensor | None = None) -> None:
        """Append rows; of more than `size`, the last ones.

        The buffers are replaced and not written into, since the step's graph still needs what it has read.

        Shape:
            rows: (B, D). labels: (B,), int64; -1 where not given.
        """
        self.fit(rows)
        labels = self.labels.new_full(rows.shape[:1], -1) if labels is None else labels
        rows, labels = rows[-self.size :], labels[-self.size :]
        new = len(rows)
        places = (self.cursor + torch.arange(new, device=rows.device)) % self.size
        self.rows = self.rows.index_copy(0, places, rows.detach().to(self.rows.dtype))
        self.labels = self.labels.index_copy(0, places, labels.to(self.labels.dtype))
        self.cursor = (self.cursor + new) % self.size
        self.count = (self.count + new).clamp_max(self.size)

    def _allocate(self, like: Tensor) -> None:
        self.to(like.device)
        if self.start == "empty":
            self.rows = like.new_zeros(self.size, like.shape[1])
            return
        drawn = torch.randn(self.size, like.shape[1], generator=torch.Generator().manual_seed(0))
        drawn = drawn / torch.linalg.vector_norm(drawn, dim=1, keepdim=True).clamp_min(EPS)
        self.rows = drawn.to(like)
        self.count = torch.full_like(self.count, self.size)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """Make room for saved rows whose width is not known yet."""
        saved = state_dict.get(f"{prefix}rows")
        if saved is not None and self.rows.shape[1] == 0 and saved.dim() == 2 and len(saved) == self.size:
            self.rows = saved.new_zeros(saved.shape, device=self.rows.device)
        super()._load_from_state_dict(state_dict, prefix, *args)
