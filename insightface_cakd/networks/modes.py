"""Eval mode for the duration of a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: object) -> Iterator[None]:
    """Put a network in eval mode for the duration of a block.

    Afterwards each of its modules gets back the mode that it had. What is no module has no modes and is left alone.
    """
    modes = {part: part.training for part in network.modules()} if isinstance(network, nn.Module) else {}
    for part in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
