"""The ViT family: no class token, patches of 9 x 9 pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from insightface_cakd.hosts.embedded.backbones.precision import body_precision, in_dtype_of, tail_precision

PATCH = 9
GRID = 12  # 12 patches of 9 cover 108 of 112 pixels: the last 4 rows and columns are never seen
TOKENS = GRID * GRID
HEADS = 8
MLP_RATIO = 4
INIT_STD = 0.02


class PatchEmbed(nn.Module):
    """Project each patch to one token (width), row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention softmax(q k^T / sqrt(width / 8)) v, then a projection.

    Shape:
        (B, N, width) -> the same; the width is divisible by 8.
    Source:
        Vaswani et al., NeurIPS 2017, section 3.2.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head_width = width // HEADS
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the attended tokens."""
        parts = self.qkv(tokens).unflatten(-1, (3, HEADS, self.head_width))  # (B, N, 3, 8, width / 8)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (B, 8, N, width / 8) each
        if torch.onnx.is_in_onnx_export():  # opset 13 has no operator for the fused form
            attended = (q * self.head_width**-0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        else:
            attended = F.scaled_dot_product_attention(q, k, v)
        return self.proj(attended.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a ReLU6 between them, applied to every token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.act = nn.ReLU6()
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the transformed tokens."""
        return self.fc2(self.act(self.fc1(tokens)))


class DropPath(nn.Module):
    """Drop the residual branch of random samples in train mode.

    The branch of a sample, (N, C), is zeroed with probability `rate`; the others are scaled by 1 / (1 - rate).

    Source:
        Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch, dropped or scaled per sample."""
        if not self.training or self.rate == 0.0:
            return branch
        kept = torch.empty_like(branch[:, :1, :1]).bernoulli_(1.0 - self.rate)  # (B, 1, 1)
        return branch * kept.div_(1.0 - self.rate)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then the MLP, each added to its input.

    Shape:
        (B, N, width) -> the same.
    """

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.drop_path = DropPath(drop_path)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the block's tokens."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class VisionTransformer(nn.Module):
    """Transformer whose embedding reads all tokens through one linear layer.

    In train mode the blocks do not see a fixed share of each image's tokens, the others are shuffled, and the learnt
    `mask_token` fills the gaps before the last layers. The share is the `mask_ratio` that the network's name states.

    Shape:
        (B, 3, 112, 112) RGB in [-1, 1] -> (B, num_features).
    Args:
        drop_path: `DropPath` rate of the last block; rates rise linearly from 0 at the first.
        mask_ratio: share of tokens left out in train mode, in [0, 1). 0 keeps all of them in order.
        checkpointed: recompute the blocks in the backward pass of training instead of storing their activations.
        fp16: run the layers before `norm` in half precision on CUDA.

    Edge cases:
        Train mode needs at least 2 images (BatchNorm); eval mode takes any number. With `mask_ratio` 0, `mask_token` is
        never read and therefore frozen.
    Source:
        Dosovitskiy et al., ICLR 2021; masking as in He et al., Masked Autoencoders, CVPR 2022, section 3.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        drop_path: float,
        mask_ratio: float,
        checkpointed: bool = False,
        num_features: int = 512,
        fp16: bool = False,
    ) -> None:
        super().__init__()
        self.kept_tokens = int(TOKENS * (1.0 - mask_ratio))
        self.checkpointed = checkpointed
        self.fp16 = fp16
        self.pos_embed = nn.Parameter(torch.zeros(1, TOKENS, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width), requires_grad=self.kept_tokens < TOKENS)
        self.patch_embed = PatchEmbed(width)
        rates = torch.linspace(0.0, drop_path, depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(width, rate) for rate in rates)
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(TOKENS * width, width, bias=False),
            nn.BatchNorm1d(width, eps=2e-5),
            nn.Linear(width, num_features, bias=False),
            nn.BatchNorm1d(num_features, eps=2e-5),
        )
        self._initialise()

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch of images."""
        masked = self.training and self.kept_tokens < TOKENS
        with body_precision(images, self.fp16):
            tokens = self.patch_embed(images) + self.pos_embed  # (B, 144, width)
            places = _random_places(tokens, self.kept_tokens) if masked else None
            if places is not None:
                tokens = tokens.gather(1, places)  # (B, kept, width)
            for block in self.blocks:
                recomputed = self.checkpointed and self.training
                tokens = checkpoint(block, tokens, use_reentrant=False) if recomputed else block(tokens)
        with tail_precision(tokens):
            tokens = self.norm(in_dtype_of(self.norm, tokens))
            if places is not None:
                tokens = self.mask_token.expand(len(places), TOKENS, -1).scatter(1, places, tokens)  # (B, 144, width)
            return self.feature(tokens.flatten(1))  # (B, num_features)

    def _initialise(self) -> None:
        """Draw linear weights, positions and mask from N(0, 0.02^2); biases are 0."""
        drawn: list[Tensor] = [self.pos_embed, self.mask_token]
        for module in self.modules():
            if isinstance(module, nn.Linear):
                drawn.append(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for weight in drawn:
            nn.init.normal_(weight, std=INIT_STD)


def _random_places(tokens: Tensor, kept: int) -> Tensor:
    """Return kept tokens in random order, as an index (B, kept, width)."""
    order = torch.rand(tokens.shape[:2], device=tokens.device).argsort(dim=1)
    return order[:, :kept, None].expand(-1, -1, tokens.shape[2])
