"""Small networks without batch norm, so that ranks and one process can be compared exactly; a host made of real parts."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.teachers.base import Teacher

WIDTH = 16


class Toy(nn.Module):
    """A convolution with a 7x7 map, and an embedding."""

    def __init__(self, num_features: int = WIDTH, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, kernel_size=16, stride=16)
        self.act = nn.Tanh()
        self.head = nn.Linear(channels * 49, num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, num_features)."""
        return self.head(self.act(self.conv(images)).flatten(1))


def toy_host() -> SimpleNamespace:
    """Return the three names of a training loop, with the embedded host's own margin and head."""

    def get_model(name: str, num_features: int = WIDTH, **_: object) -> nn.Module:
        return Toy(num_features)

    return SimpleNamespace(get_model=get_model, CombinedMarginLoss=CombinedMarginLoss, PartialFC_V2=PartialFC_V2)


def toy_teacher(channels: int = 6) -> Teacher:
    """Return a wider teacher with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        return Teacher.of_network(Toy(WIDTH, channels), "toy", WIDTH, torch.device("cpu"))
