"""Prompts in the shifted windows of timm's Swin."""

from functools import partial
from itertools import accumulate
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from insightface_cakd.teachers.prompts.blocks import Forward, PromptBlocks, forwards, run


class SwinBlocks(PromptBlocks):
    """Blocks whose windows each see the prompts of their own image.

    In a block, with x the map and p the prompts of one image, both normed before the attention: each window w attends over its
    patches and p together; a patch keeps its window's answer, p takes the mean over the windows of ITS image; then residual,
    norm and MLP for both. Position bias and shift mask are zero wherever a prompt is query or key. Patch merging drops p.
    """

    def __init__(self, network: SwinTransformer, input_size: int) -> None:
        stages: list[Any] = list(network.layers)
        first = [0, *accumulate(len(stage.blocks) for stage in stages)][:-1]
        super().__init__([block for stage in stages for block in stage.blocks], first, network.norm, input_size)

    @classmethod
    def find(cls, network: nn.Module, input_size: int) -> "SwinBlocks | None":
        """Return the blocks of a Swin of timm, None for another network."""
        return cls(network, input_size) if isinstance(network, SwinTransformer) else None

    def ends(self) -> list[int]:
        """Return the first block of each stage: patch merging comes before it."""
        return self.stages

    def through(
        self, block: Any, forward: Forward, tokens: Tensor, prompts: Tensor, recompute: bool
    ) -> tuple[Tensor, Tensor]:
        """Run the block; the prompts pass through their own residuals and MLP."""
        return run(partial(_block, block, forward), tokens, prompts, recompute=recompute)

    def grid(self, tokens: Tensor) -> tuple[int, int]:
        """Return height and width of the map."""
        return tokens.shape[1], tokens.shape[2]

    def patches(self, tokens: Tensor) -> Tensor:
        """Return the map as tokens."""
        return tokens.flatten(1, 2)


class _PromptedAttention:
    """The forward of timm's window attention, with prompts.

    Shape:
        windows: (B * windows, N, C), the windows of one image next to each other, as timm lays them; mask: (windows, N, N).

    Args:
        prompts: (B, t, C), normed.

    Attributes:
        answer: (B, t, C), the output of the attention for the prompts.
    """

    def __init__(self, attention: Any, prompts: Tensor) -> None:
        self.attention = attention
        self.prompts = prompts
        self.answer = prompts

    def __call__(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the output of the attention for the patches."""
        attention, (batch, extra, _), area = self.attention, self.prompts.shape, windows.shape[1]
        patches = attention.qkv(windows).unflatten(0, (batch, -1))  # (B, windows, N, 3 C)
        count, heads = patches.shape[1], attention.num_heads
        prompts = attention.qkv.forward(self.prompts)[:, None].expand(-1, count, -1, -1)  # (B, windows, t, 3 C)
        joint = torch.cat([patches, prompts], dim=2).unflatten(-1, (3, heads, -1))  # (B, windows, N + t, 3, heads, c)
        # Windows and heads in one dimension, so that one bias serves the whole batch.
        q, k, v = joint.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)  # (B, windows * heads, N + t, c)
        bias = self._bias(area, count, extra, mask).to(q.dtype)
        answers = scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=attention.scale)
        answers = answers.unflatten(1, (count, heads)).transpose(2, 3).flatten(3)  # (B, windows, N + t, C)
        # The mean may be taken before the projection, which is linear.
        self.answer = attention.proj.forward(answers[:, :, area:].mean(dim=1))
        return attention.proj(answers[:, :, :area].flatten(0, 1))

    def _bias(self, area: int, count: int, extra: int, mask: Tensor | None) -> Tensor:
        """Return position bias and shift mask, zero for prompts."""
        table, index = self.attention.relative_position_bias_table, self.attention.relative_position_index
        bias = table[index.flatten()].view(1, area, area, -1).permute(0, 3, 1, 2)  # (1, heads, N, N)
        if mask is not None:
            bias = bias + mask[:, None]  # (windows, heads, N, N)
        bias = pad(bias, (0, extra, 0, extra)).expand(count, -1, -1, -1)
        return bias.flatten(0, 1)[None]  # (1, windows * heads, N + t, N + t)


def _block(block: Any, forward: Forward, tokens: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Return map and prompts after one block."""
    # `.forward` of a module leaves out hooks: a tap reads the output for the patches only.
    attention = _PromptedAttention(block.attn, block.norm1.forward(prompts))
    with forwards([block.attn], [attention]):
        tokens = forward(tokens)  # (B, H, W, C)
    prompts = prompts + attention.answer
    return tokens, prompts + block.mlp.forward(block.norm2.forward(prompts))
