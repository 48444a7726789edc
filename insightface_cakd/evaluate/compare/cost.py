"""What it costs to run a model."""

from dataclasses import dataclass

from insightface_cakd.networks.latency import Latency


@dataclass(frozen=True)
class Cost:
    """What it costs to run a model.

    Args:
        megabytes: size of its file, in 10^6 bytes.
    """

    runtime: str
    megabytes: float
    parameters: int
    latency: Latency
