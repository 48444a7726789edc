"""What it costs to run a model."""

from dataclasses import dataclass

from insightface_cakd.networks.latency import Latency


@dataclass(frozen=True)
class Cost:
    """What it costs to run a model.

    Args:
        runtime: name of what ran it.
        megabytes: size of its file, in 10^6 bytes.
        parameters: number of weights.
        latency: for one face on this CPU.
    """

    runtime: str
    megabytes: float
    parameters: int
    latency: Latency
