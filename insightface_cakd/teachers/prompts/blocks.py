"""Base class of Transformers that take prompts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from insightface_cakd.recipe.prompts import Placement

Forward = Callable[[Tensor], Tensor]


class PromptBlocks(ABC):
    """The blocks of one Transformer, and how prompts pass through them.

    Args:
        norm: the network's last norm, applied to the tokens after the last block.
        input_size: side of the images, in pixels.
    """

    def __init__(self, blocks: Sequence[nn.Module], stages: Sequence[int], norm: nn.Module, input_size: int) -> None:
        self.blocks = list(blocks)
        self.stages = list(stages)
        self.norm = norm
        self.input_size = input_size

    def starts(self, placement: Placement) -> list[int]:
        """Return the indices of the blocks before which new prompts begin."""
        return {"deep": list(range(len(self.blocks))), "stage": self.stages, "shallow": [0]}[placement]

    def ends(self) -> list[int]:
        """Return the indices of the blocks that earlier prompts cannot reach."""
        return []

    def forget(self) -> None:  # noqa: B027
        """Release what was kept of the last forward."""

    @abstractmethod
    def through(
        self, block: nn.Module, forward: Forward, tokens: Tensor, prompts: Tensor, recompute: bool
    ) -> tuple[Tensor, Tensor]:
        """Return a block's tokens and prompts.

        Args:
            prompts: (B, t, C).
            recompute: run the block again in the backward pass instead of keeping its activations.
        """

    @abstractmethod
    def grid(self, tokens: Tensor) -> tuple[int, int]:
        """Return rows and columns of the patches among a block's tokens."""

    @abstractmethod
    def patches(self, tokens: Tensor) -> Tensor:
        """Return the patches among a block's tokens, row by row.

        Shape:
            Returns (B, rows * columns, C).
        """


def run(function: Callable[..., Any], *tensors: Tensor, recompute: bool) -> Any:
    """Call a function, if asked under a checkpoint for the backward pass."""
    # The random state is not kept: nothing frozen is random.
    if recompute and torch.is_grad_enabled():
        return checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False)
    return function(*tensors)


@contextmanager
def forwards(modules: Sequence[nn.Module], replacements: Sequence[Callable[..., Tensor]]) -> Iterator[None]:
    """Replace the forward of modules for a while; hooks still fire."""
    before = [vars(module).get("forward") for module in modules]
    for module, replacement in zip(modules, replacements, strict=True):
        module.forward = replacement
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            if own is None:
                del module.forward
            else:
                module.forward = own
