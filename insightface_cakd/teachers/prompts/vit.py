"""Prompts among the tokens of a ViT: arcface_torch's and timm's."""

from math import isqrt
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from insightface_cakd.errors import TeacherError
from insightface_cakd.teachers.prompts.blocks import Forward, PromptBlocks, run

_STAGES = 4  # a ViT has none: its blocks are divided into as many as a Swin has
PARTS = ("patch_embed", "pos_embed", "blocks", "norm", "feature")


class ViTBlocks(PromptBlocks):
    """Blocks that attend over any number of tokens.

    Prompts stand behind the other tokens, and are taken away after the block. The network itself sees its own tokens only, so position,
    norm and head are left as they are.

    Args:
        prefix: tokens that stand before the patches (a class token, registers).
    """

    def __init__(self, network: Any, prefix: int, input_size: int) -> None:
        depth = len(network.blocks)
        stages = min(_STAGES, depth)
        super().__init__(list(network.blocks), [i * depth // stages for i in range(stages)], network.norm, input_size)
        self.prefix = prefix
        self._grid = getattr(network.patch_embed, "grid_size", None)
        self._last: tuple[Tensor, Tensor, Tensor] | None = None

    @classmethod
    def find(cls, network: nn.Module, input_size: int) -> "ViTBlocks | None":
        """Return the blocks of timm's or arcface_torch's ViT, None for another network."""
        if isinstance(network, VisionTransformer):
            return cls(network, network.num_prefix_tokens, input_size)
        parts: list[Any] = [getattr(network, part, None) for part in PARTS]
        if any(part is None for part in parts) or type(network).__module__.startswith("timm."):
            return None
        # A block may normalise over the tokens, as one of arcface_torch does; it cannot take more tokens.
        norms = [getattr(block, name, None) for block in parts[2] for name in ("norm1", "norm2")]
        fits = bool(norms) and all(isinstance(norm, nn.LayerNorm) for norm in norms)
        return cls(network, 0, input_size) if fits else None

    def through(
        self, block: nn.Module, forward: Forward, tokens: Tensor, prompts: Tensor, recompute: bool
    ) -> tuple[Tensor, Tensor]:
        """Append the prompts, run the block, take them away."""
        joint = run(forward, self._joined(tokens, prompts), recompute=recompute)  # (B, N + t, C)
        count = tokens.shape[1]
        self._last = (joint[:, :count], joint[:, count:], joint)
        return self._last[:2]

    def _joined(self, tokens: Tensor, prompts: Tensor) -> Tensor:
        """Return both as one tensor: the last block's own, if possible."""
        if self._last is not None and self._last[0] is tokens and self._last[1] is prompts:
            return self._last[2]
        return torch.cat([tokens, prompts.to(tokens.dtype)], dim=1)

    def forget(self) -> None:
        """Release the last forward's tokens."""
        self._last = None

    def grid(self, tokens: Tensor) -> tuple[int, int]:
        """Return rows and columns."""
        count = tokens.shape[1] - self.prefix
        if self._grid is not None and self._grid[0] * self._grid[1] == count:
            return self._grid[0], self._grid[1]
        side = isqrt(count)
        if side * side != count:
            raise TeacherError(
                f"teacher prompts: {count} patches are no square; expected as many rows as columns. Use another Transformer."
            )
        return side, side

    def patches(self, tokens: Tensor) -> Tensor:
        """Return the tokens behind the prefix."""
        return tokens[:, self.prefix :]
