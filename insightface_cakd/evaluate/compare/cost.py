"""What it costs to run a model."""

from dataclasses import dataclass

from insightface_cakd.networks.latency import Latency


@dataclass(frozen=True)
class Cost:
    """What it costs to run a model: file of 10^6 bytes, one face on this CPU."""

    runtime: str
    megabytes: float
    parameters: int
    latency: Latency
