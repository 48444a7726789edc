"""How a model is run while measured; no result depends on it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from insightface_cakd.runtime.progress import Progress


class Bar(Protocol):
    """A function that opens a progress bar."""

    def __call__(self, what: str, /) -> AbstractContextManager[Progress]:
        """Open a bar with a title: a context manager that gives the progress callback."""


@contextmanager
def no_bar(_: str) -> Iterator[Progress]:
    """Show no progress bar."""
    yield lambda done, total: None


@dataclass(frozen=True)
class Execution:
    """How a model is run.

    Args:
        device: where the images go.
        batch_size: images per forward.
        shared: all ranks of a group measure the same, and share the images; without a group nothing changes.
    """

    device: torch.device
    batch_size: int = 64
    workers: int = 2
    bar: Bar = no_bar
    shared: bool = False
