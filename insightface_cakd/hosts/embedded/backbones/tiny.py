"""Small CNNs and a small Transformer, trained on a CPU."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from insightface_cakd.hosts.embedded.backbones.precision import body_precision, in_dtype_of, tail_precision
from insightface_cakd.hosts.embedded.backbones.prelu import PReLU


def _conv_unit(inputs: int, outputs: int, stride: int = 2, kernel: int = 3) -> nn.Sequential:
    """Return a convolution, batch norm and PReLU.

    The convolution is dense, since depthwise convolutions train ten times slower on a CPU.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        PReLU(outputs),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unit = _conv_unit(channels, channels, stride=1)
        self.last = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's feature map."""
        return maps + self.last(self.unit(maps))


class SmallCNN(nn.Module):
    """Four strided convolutions, residual blocks, global depthwise convolution, linear layer.

    At 512 features: 0.17 M parameters and 12 MMACs without residual blocks; 1.30 M and 117 MMACs with (0, 2, 3, 2) of them and a wide last
    map. All but the last two layers run in half precision with `fp16`.

    Shape:
        images (B, 3, 112, 112); taps `layer1` (16, 56, 56), `layer2` (32, 28, 28), `layer3` (64, 14, 14), `layer4`
        (128, 7, 7); embedding (B, num_features), float32.
    Args:
        blocks: residual blocks behind each of the four strided convolutions.
        last: channels to which a 1x1 convolution widens the last map, so that the embedding has more than 128 dimensions to vary in;
            None leaves it.
    """

    def __init__(
        self, blocks: Sequence[int], num_features: int = 512, fp16: bool = False, last: int | None = None
    ) -> None:
        super().__init__()
        self.fp16 = fp16
        widths = (3, 16, 32, 64, 128)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(*_conv_unit(*pair), *(ResidualBlock(pair[1]) for _ in range(count)))
            for pair, count in zip(pairwise(widths), blocks, strict=True)
        )
        width = last or widths[-1]
        self.widen = nn.Sequential(*_conv_unit(widths[-1], width, kernel=1, stride=1)) if last else nn.Identity()
        self.pool = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=7, groups=width, bias=False), nn.BatchNorm2d(width)
        )
        self.fc = nn.Linear(width, num_features, bias=False)
        self.features = nn.BatchNorm1d(num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings."""
        with body_precision(images, self.fp16):
            maps = self.layer4(self.layer3(self.layer2(self.layer1(images))))  # (B, 128, 7, 7)
            pooled = self.pool(self.widen(maps)).flatten(1)  # (B, 128) or (B, last)
        with tail_precision(pooled):
            return self.features(self.fc(in_dtype_of(self.fc, pooled)))  # (B, num_features)


class Block(nn.Module):
    """A pre-norm Transformer block of tokens (B, N, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the block's tokens."""
        query, key, value = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.proj(attended)
        return tokens + self.mlp(self.norm2(tokens))


class TinyViT(nn.Module):
    """A small Transformer: convolutional stem to 7 x 7 tokens, four blocks.

    4.1 M parameters at 512 features, 56 MMACs, at the default width and depth. The layers before `norm` run in half
    precision with `fp16`.

    Shape:
        images (B, 3, 112, 112); taps `blocks.k` and `norm` (49, width), row by row; embedding (B, num_features),
            float32.
    """

    def __init__(
        self, num_features: int = 512, width: int = 128, depth: int = 4, heads: int = 4, fp16: bool = False
    ) -> None:
        super().__init__()
        self.fp16 = fp16
        channels = (3, width // 8, width // 4, width // 2, width)
        self.patch_embed = nn.Sequential(*(_conv_unit(*pair) for pair in pairwise(channels)))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 49, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(nn.Linear(49 * width, num_features, bias=False), nn.BatchNorm1d(num_features))

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings."""
        with body_precision(images, self.fp16):
            tokens = self.patch_embed(images).flatten(2).transpose(1, 2) + self.pos_embed  # (B, 49, width)
            tokens = self.blocks(tokens)
        with tail_precision(tokens):
            return self.feature(self.norm(in_dtype_of(self.norm, tokens)).flatten(1))  # (B, num_features)
