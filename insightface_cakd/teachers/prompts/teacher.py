"""A frozen Transformer with prompts: a teacher that learns to teach."""

from collections.abc import Sequence
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.errors import TeacherError
from insightface_cakd.networks.image_format import RGB, ImageFormat
from insightface_cakd.networks.token_grid import TokenGrid
from insightface_cakd.recipe.prompts import PromptSpec
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.teachers.base import Teacher
from insightface_cakd.teachers.prompts.blocks import Forward, PromptBlocks, forwards
from insightface_cakd.teachers.prompts.damped import damped
from insightface_cakd.teachers.prompts.swin import SwinBlocks
from insightface_cakd.teachers.prompts.vit import ViTBlocks

SEED = 0


class Prompts(nn.Module):
    """The prompts of a network, in sets.

    There is one set for each block before which a new set begins; `patch` is the side of the network's patches in
    pixels.
    """

    def __init__(self, widths: Sequence[int], tokens: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.sets = nn.ParameterList(nn.Parameter(torch.empty(tokens, width)) for width in widths)
        # The same values on every rank and in every run, whatever was drawn before.
        self.initialise(torch.Generator().manual_seed(SEED))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw all prompts from a uniform distribution.

        uniform(-v, v), v = sqrt(6 / (3 patch^2 + width)).

        Source:
            Jia et al., Visual Prompt Tuning, ECCV 2022: Xavier's range for the patch embedding.
        """
        for prompts in self.sets:
            limit = sqrt(6 / (3 * self.patch**2 + prompts.shape[1]))
            prompts.copy_(torch.rand(prompts.shape, generator=generator) * 2 * limit - limit)


class PromptedTeacher(Teacher):
    """A frozen Transformer whose prompts, and nothing else, can learn.

    `forward` keeps the graph to the prompts where gradients are enabled. The network is run by its own forward; while it runs,
    its blocks take the prompts along. Its modules, weights and buffers are never changed.

    Args:
        embedder: a ViT of arcface_torch or timm, or a Swin of timm; or a module that has one as a child.
        device: where it runs.
        spec: the prompts; the default ones when not given.
        input_size: side of the images that it takes, in pixels.
        takes: how the network takes the pixels.
        remembered: gives the embeddings without prompts in place of the network; the network when not given.

    Attributes:
        prompts: the module to train.
        grid: grid of the tokens of the last forward; known from the start.
    """

    def __init__(
        self,
        embedder: nn.Module,
        name: str,
        embedding_size: int | tuple[int, ...],
        device: torch.device | str,
        spec: PromptSpec | None = None,
        *,
        sha256: str | None = None,
        input_size: int = 112,
        autocast: bool = False,
        takes: ImageFormat = RGB,
        remembered: nn.Module | None = None,
    ) -> None:
        super().__init__(
            embedder,
            name,
            embedding_size,
            device,
            sha256=sha256,
            input_size=input_size,
            autocast=autocast,
            takes=takes,
        )
        self.spec = spec if spec is not None else PromptSpec()
        self.remembered = remembered
        self._blocks = _find_blocks(embedder, input_size, f"teacher {name}")
        self._starts = self._blocks.starts(self.spec.placement)
        self._ends = self._blocks.ends()
        self._now: Tensor | None = None
        self._tokens: Tensor | None = None
        shapes = self._observe()
        patch = input_size // self._blocks.grid(shapes[0])[0]
        widths = [shapes[start].shape[-1] for start in self._starts]
        self.prompts: Prompts = Prompts(widths, self.spec.tokens, patch).to(self.device, self._weight.dtype)
        self.grid = TokenGrid(*self._blocks.grid(shapes[-1]), 0)
        self._try()

    @property
    def shown(self) -> tuple[Tensor, TokenGrid]:
        """The last forward's tokens, and their grid."""
        return self.tokens, self.grid

    @property
    def tokens(self) -> Tensor:
        """The last forward's tokens: patches row by row, then the prompts.

        Shape:
            (B, rows * columns + extra, C).
        """
        assert self._tokens is not None
        return self._tokens

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch, with the graph to the prompts."""
        self._now = None
        modules = self._blocks.blocks
        own = [module.forward for module in modules]
        replaced = [partial(self._through, index, forward) for index, forward in enumerate(own)]
        try:
            with forwards(modules, replaced):
                return self._embed(images, **self._limits)
        finally:
            self._now = None
            self._blocks.forget()

    @torch.no_grad()
    def plain(self, images: Tensor) -> Tensor:
        """Return the embeddings without prompts, computed or remembered."""
        return self._embed(images) if self.remembered is None else self.remembered(images)

    def _through(self, index: int, forward: Forward, tokens: Tensor) -> Tensor:
        """Run one block in place of its own forward."""
        if index in self._starts:
            prompts = damped(self.prompts.sets[self._starts.index(index)], self.spec.rate)
            self._now = prompts.expand(len(tokens), -1, -1)  # (B, t, C)
        elif index in self._ends:
            self._now = None
        if self._now is None:
            tokens = forward(tokens)
        else:
            block = self._blocks.blocks[index]
            tokens, self._now = self._blocks.through(block, forward, tokens, self._now, self.spec.checkpoint)
        if index == len(self._blocks.blocks) - 1:
            self._keep(tokens)
        return tokens

    def _keep(self, last: Tensor) -> None:
        """Keep the tokens of the last block, and the prompts behind them."""
        parts = [self._blocks.patches(last)] + ([] if self._now is None else [self._now])
        tokens = torch.cat(parts, dim=1).to(self.prompts.sets[0].dtype)
        self.grid = TokenGrid(*self._blocks.grid(last), 0 if self._now is None else self._now.shape[1])
        # `.forward` leaves out hooks: a tap on the norm reads the network's own output for the patches.
        self._tokens = self._blocks.norm.forward(tokens) if self.spec.output == "norm" else tokens

    @property
    def _limits(self) -> dict[str, Any]:
        """What a line says of a network that does not run with prompts."""
        return {
            "fails": f"cannot be run with {self.spec.tokens} more tokens",
            "expected": "attention over any number of tokens. Remove teacher.prompts, or use another Transformer.",
        }

    @property
    def _weight(self) -> Tensor:
        return next(self.embedder.parameters())

    def _blank(self, count: int) -> Tensor:
        return torch.zeros(count, 3, self.input_size, self.input_size, device=self.device, dtype=self._weight.dtype)

    @torch.no_grad()
    def _observe(self) -> list[Tensor]:
        """Return each block's input for a blank image, without prompts."""
        seen: list[Tensor] = []
        hooks = [
            block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for block in self._blocks.blocks
        ]
        try:
            self._embed(self._blank(1))
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    @torch.no_grad()
    def _try(self) -> None:
        """Run two blank images, to find a network that cannot take prompts."""
        with foreign(f"teacher {self.name}", TeacherError, **self._limits):
            self(self._blank(2))


def _find_blocks(network: nn.Module, input_size: int, where: str) -> PromptBlocks:
    """Return blocks for prompts, of a network or else of its children."""
    for module in (network, *network.children()):
        for kind in (SwinBlocks, ViTBlocks):
            blocks = kind.find(module, input_size)
            if blocks is not None:
                return blocks
    raise TeacherError(
        f"{where}: {type(network).__name__} has no tokens that prompts could join; expected arcface_torch's ViT, timm's "
        "VisionTransformer or timm's SwinTransformer. Remove teacher.prompts, or use such a teacher (vit_t, timm:swin_...)."
    )
