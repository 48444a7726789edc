"""mbf and mbf_large: inverted bottlenecks, then one depthwise convolution over the grid."""

from collections.abc import Sequence

from torch import Tensor, nn

from insightface_cakd.hosts.embedded.backbones.precision import body_precision, in_dtype_of, tail_precision
from insightface_cakd.hosts.embedded.backbones.prelu import PReLU

GRID = 7
LAST_CHANNELS = 512


class _Chain(nn.Module):
    """Layers in a row, under the key `layers` that arcface_torch's weights have."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last layer gives."""
        return self.layers(x)


class LinearBlock(_Chain):
    """Convolution and BatchNorm, without an activation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(out_channels))


class ConvBlock(LinearBlock):
    """`LinearBlock` followed by a PReLU with one slope per channel."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups)
        self.layers.append(PReLU(out_channels))


class DepthWise(_Chain):
    """Bottleneck with a depthwise 3x3 convolution in its middle.

    A 1x1 convolution to `hidden` channels, a 3x3 depthwise one with the stride, and a linear 1x1 one to the output
    channels. With `residual` the input is added, which needs stride 1 and C_in == C_out.

    Shape:
        (B, C_in, H, W) -> (B, C_out, H / stride, W / stride).
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int, stride: int = 1, residual: bool = False
    ) -> None:
        super().__init__(
            ConvBlock(in_channels, hidden),
            ConvBlock(hidden, hidden, kernel=3, stride=stride, padding=1, groups=hidden),
            LinearBlock(hidden, out_channels),
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature map."""
        found = super().forward(x)
        return x + found if self.residual else found


class Residual(_Chain):
    """A chain of residual bottlenecks of one width."""

    def __init__(self, length: int, channels: int, hidden: int) -> None:
        super().__init__(*(DepthWise(channels, channels, hidden, residual=True) for _ in range(length)))


class GDC(_Chain):
    """Global depthwise convolution that reduces the grid to the embedding.

    One weight per channel and position, then a linear layer and a BatchNorm.

    Shape:
        (B, 512, 7, 7) -> (B, num_features).
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(
            LinearBlock(LAST_CHANNELS, LAST_CHANNELS, kernel=GRID, groups=LAST_CHANNELS),
            nn.Flatten(),
            nn.Linear(LAST_CHANNELS, num_features, bias=False),
            nn.BatchNorm1d(num_features),
        )


class MobileFaceNet(nn.Module):
    """MobileFaceNet as arcface_torch trains it.

    Two or four times the paper's width, with fixed bottleneck widths. If there is one block at 56 x 56, that block is a
    grouped (not depthwise) convolution, as in the published mbf weights.

    Shape:
        (B, 3, 112, 112) RGB in [-1, 1] -> (B, num_features).
    Args:
        blocks: blocks at 56 x 56, 28 x 28, 14 x 14 and 7 x 7.
        scale: multiple of 64 channels at 28 x 28, doubled from 14 x 14 on.
        fp16: run the layers before `conv_sep` in half precision on CUDA.

    Edge cases:
        Train mode needs at least 2 images (BatchNorm); eval mode takes any number.
    Source:
        Chen et al., MobileFaceNets, CCBR 2018, table 1.
    """

    def __init__(self, blocks: Sequence[int], scale: int, num_features: int = 512, fp16: bool = False) -> None:
        super().__init__()
        self.fp16 = fp16
        narrow, wide = 64 * scale, 128 * scale
        self.layers = nn.ModuleList(
            [
                ConvBlock(3, narrow, kernel=3, stride=2, padding=1),
                ConvBlock(narrow, narrow, kernel=3, padding=1, groups=64)
                if blocks[0] == 1
                else Residual(blocks[0], narrow, hidden=128),
                DepthWise(narrow, narrow, hidden=128, stride=2),
                Residual(blocks[1], narrow, hidden=128),
                DepthWise(narrow, wide, hidden=256, stride=2),
                Residual(blocks[2], wide, hidden=256),
                DepthWise(wide, wide, hidden=512, stride=2),
                Residual(blocks[3], wide, hidden=256),
            ]
        )
        self.conv_sep = ConvBlock(wide, LAST_CHANNELS)
        self.features = GDC(num_features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch of images."""
        x = images
        with body_precision(images, self.fp16):
            for layer in self.layers:
                x = layer(x)  # (B, wide, 7, 7) at the end
        with tail_precision(x):
            x = self.conv_sep(in_dtype_of(self.conv_sep, x))  # (B, 512, 7, 7)
            return self.features(x)  # (B, num_features)
