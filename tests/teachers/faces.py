"""A tiny network with every kind of state, and files of it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RunError

WIDTH = 8


class TinyFace(nn.Module):
    """A CNN with batch norm and dropout, whose last weight is the embedding's, as in arcface_torch."""

    def __init__(self, num_features: int = WIDTH, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 5, stride=4)
        self.bn = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(channels * 4, num_features)
        self.features = nn.BatchNorm1d(num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, num_features)."""
        maps = nn.functional.adaptive_avg_pool2d(self.bn(self.conv(images)), 2)
        return self.features(self.fc(self.drop(maps.flatten(1))))


class ChannelMeans(nn.Module):
    """The means of the three channels: a recogniser whose answer is known."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 3)."""
        return images.mean(dim=(2, 3))


def get_model(name: str, num_features: int = 512, fp16: bool = False, dropout: float = 0.0) -> nn.Module:
    """Build a network by name, as a host does."""
    channels = {"tiny": 4, "wide": 6}
    if name not in channels:
        raise RunError(f"network '{name}' is unknown; known: tiny, wide.")
    return TinyFace(num_features, channels[name])


def trained(width: int = WIDTH, channels: int = 4) -> TinyFace:
    """Return a network whose weights and running statistics are none of the initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = TinyFace(width, channels)
        for tensor in network.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) + 0.1 if tensor.is_floating_point() else torch.tensor(3))
    return network


def saved(folder: Path, width: int = WIDTH, name: str = "model.pt") -> Path:
    """Write the weights of `trained`."""
    path = folder / name
    torch.save(trained(width).state_dict(), path)
    return path


def faces(count: int = 3, side: int = 112, seed: int = 0) -> Tensor:
    """Return images of 8-bit pixels, (count, side, side, 3) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)


def as_input(pixels: Tensor) -> Tensor:
    """Return images the way arcface_torch's loader does: `(x / 255 - 0.5) / 0.5`, channels first."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
