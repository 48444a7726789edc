"""Threads of PyTorch's own, and those that a command starts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let PyTorch compute in the thread that asks for it alone.

    For blocks that start as many threads as there are cores: PyTorch's own would only wait for those. Threads take over
    the number when they first compute.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
