"""A small network of all parts that matter to an export, and one that is a host's."""

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RunError

WIDTH = 8


class SmallFace(nn.Module):
    """A CNN with batch norm, PReLU and dropout; `fc` and `features` make the embedding, as in arcface_torch."""

    def __init__(self, num_features: int = WIDTH) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 16, stride=16)
        self.bn = nn.BatchNorm2d(4)
        self.prelu = nn.PReLU(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4 * 49, num_features)
        self.features = nn.BatchNorm1d(num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, num_features)."""
        return self.features(self.fc(self.drop(self.prelu(self.bn(self.conv(images))).flatten(1))))


def get_model(name: str, num_features: int = 512, fp16: bool = False, dropout: float = 0.0) -> nn.Module:
    """Build a network by name, as a host does."""
    if name != "small":
        raise RunError(f"network '{name}' is unknown; known: small.")
    return SmallFace(num_features)


def trained(width: int = WIDTH) -> SmallFace:
    """Return a network whose weights and running statistics are none of the initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return settle(SmallFace(width))


def settle(network: nn.Module) -> nn.Module:
    """Let a network's batch norms see a batch, so that embeddings are of order one; return it in train mode."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        network(torch.rand(8, 3, 112, 112) * 2 - 1)
    return network
