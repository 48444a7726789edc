"""Size and training step of the networks that a student may be."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.backbones.prelu import PReLU
from insightface_cakd.report.tables import Row, markdown_table

SIZE = 112


@dataclass(frozen=True)
class Step:
    """A network's size, and the CPU time of forward and backward of an image.

    Args:
        products: multiplications and additions of a forward, in millions.
        plain: milliseconds in torch's own layout.
        last: in channels-last.
        own: with our PReLU besides.
        half: in bfloat16 besides.
    """

    network: str
    parameters: int
    products: float
    plain: float
    last: float
    own: float
    half: float


def student_steps(networks: list[str], batch: int, repeats: int) -> Iterator[Step]:
    """Yield the step of each network; the least of some repeats, in turn."""
    images = torch.randn(batch, 3, SIZE, SIZE)
    for name in networks:
        network = get_model(name)
        last = torch.channels_last
        kinds = [(torch.contiguous_format, False, False), (last, False, False), (last, True, False), (last, True, True)]
        least = [float("inf")] * len(kinds)
        for _ in range(repeats + 1):
            for place, (layout, own, half) in enumerate(kinds):
                network.to(memory_format=layout)
                with nullcontext() if own else _torchs_prelu(network):
                    least[place] = min(least[place], _seconds(network, images, half))
        size = sum(weight.numel() for weight in network.parameters())
        yield Step(name, size, products(network) / 1e6, *(1000 * seconds / batch for seconds in least))


@contextmanager
def _torchs_prelu(network: nn.Module) -> Iterator[None]:
    """Let PReLUs be computed by torch's kernel."""
    found: list[nn.Module] = [module for module in network.modules() if isinstance(module, PReLU)]
    for module in found:
        module.__class__ = nn.PReLU
    try:
        yield
    finally:
        for module in found:
            module.__class__ = PReLU


def _seconds(network: nn.Module, images: Tensor, half: bool) -> float:
    started = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        embedding = network(images)
    embedding.square().sum().backward()
    network.zero_grad()
    return time.process_time() - started


def products(network: nn.Module) -> int:
    """Return the products of convolutions and linear layers for one image.

    Products of attention among tokens are left out.
    """
    counted: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda layer, _, out: counted.append(_of_layer(layer, out)))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, SIZE, SIZE))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def _of_layer(layer: nn.Module, out: Tensor) -> int:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return out.numel() // weight.shape[0] * weight.numel()


def table(steps: Iterator[Step]) -> str:
    """Return the steps as a table."""
    rows: list[Row] = [
        {
            "network": f"`{one.network}`",
            "parameters": f"{one.parameters / 1e6:.2f} M",
            "MMACs": f"{one.products:.0f}",
            "ms an image": f"{one.plain:.1f}",
            "channels-last": f"{one.last:.1f}",
            "and our PReLU": f"{one.own:.1f}",
            "and bf16": f"{one.half:.1f}",
        }
        for one in steps
    ]
    return markdown_table(rows)
