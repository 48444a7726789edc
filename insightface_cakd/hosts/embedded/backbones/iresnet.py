"""The r-family: residual networks, one large linear layer over the grid."""

from collections.abc import Sequence

from torch import Tensor, nn

from insightface_cakd.hosts.embedded.backbones.precision import body_precision, in_dtype_of, tail_precision
from insightface_cakd.hosts.embedded.backbones.prelu import PReLU

STAGE_CHANNELS = (64, 128, 256, 512)
GRID = 7  # 112 halved by each of the four stages


class IBasicBlock(nn.Module):
    """Residual block BN, conv, BN, PReLU, conv, BN.

    The second convolution has the stride, 1 or 2; with 2 the shortcut has a strided 1x1 convolution. The sum is not taken
    in place, so a tap on `bn3` keeps its values.

    Shape:
        (B, C_in, H, W) -> (B, C_out, H / stride, W / stride).
    Source:
        Duta et al., Improved Residual Networks, 2020; Deng et al., ArcFace, CVPR 2019, section 3.1 (block "IR").
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature map."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + shortcut


class IResNet(nn.Module):
    """Residual network for face embeddings.

    It has four residual stages, one linear layer over the flattened 7 x 7 grid, and one BatchNorm. The weight of that
    last BatchNorm (`features.weight`) is frozen at 1: the layer shifts the embedding but never rescales its axes.

    Shape:
        (B, 3, 112, 112) RGB in [-1, 1] -> (B, num_features).
    Args:
        fp16: run all but the last two layers in half precision on CUDA.
        dropout: probability of zeroing a flattened feature before the linear layer, in train mode.

    Edge cases:
        Train mode needs at least 2 images (BatchNorm); eval mode takes any number.
    """

    def __init__(
        self, blocks: Sequence[int], num_features: int = 512, fp16: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.fp16 = fp16
        self.conv1 = nn.Conv2d(3, STAGE_CHANNELS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGE_CHANNELS[0])
        self.prelu = PReLU(STAGE_CHANNELS[0])
        self.layer1 = _stage(STAGE_CHANNELS[0], STAGE_CHANNELS[0], blocks[0])
        self.layer2 = _stage(STAGE_CHANNELS[0], STAGE_CHANNELS[1], blocks[1])
        self.layer3 = _stage(STAGE_CHANNELS[1], STAGE_CHANNELS[2], blocks[2])
        self.layer4 = _stage(STAGE_CHANNELS[2], STAGE_CHANNELS[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(STAGE_CHANNELS[3])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(STAGE_CHANNELS[3] * GRID * GRID, num_features)
        self.features = nn.BatchNorm1d(num_features)
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch of images."""
        with body_precision(images, self.fp16):
            x = self.prelu(self.bn1(self.conv1(images)))  # (B, 64, 112, 112)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (B, 512, 7, 7)
            x = self.dropout(self.bn2(x).flatten(1))  # (B, 25088)
        with tail_precision(x):
            return self.features(self.fc(in_dtype_of(self.fc, x)))  # (B, num_features)


def _stage(in_channels: int, out_channels: int, length: int) -> nn.Sequential:
    """Return `length` blocks; the first one halves the grid."""
    first = IBasicBlock(in_channels, out_channels, stride=2)
    rest = [IBasicBlock(out_channels, out_channels, stride=1) for _ in range(length - 1)]
    return nn.Sequential(first, *rest)
