"""What a model costs beside its numbers."""

from dataclasses import dataclass

from insightface_cakd.networks.latency import Latency


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Args:
        runtime: what ran it.
        megabytes: of its file, in 10^6 bytes.
        parameters: number of weights.
        latency: of one face on this CPU.
    """

    runtime: str
    megabytes: float
    parameters: int
    latency: Latency
