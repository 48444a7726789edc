"""How fast a device is: the assumptions of a prediction."""

from dataclasses import dataclass

import torch

from insightface_cakd.experiments.cost.counts.operations import Operation

TERA, GIGA, MICRO = 1e12, 1e9, 1e-6


@dataclass(frozen=True)
class GPU:
    """A GPU, by its data sheet and what of it is reached.

    An operator takes as long as its computation or its traffic with the memory, whichever takes longer, and never less than its start.
    Collectives overlap with nothing.

    Args:
        name: as one asks for it.
        half: dense FLOP/s in float16 and bfloat16.
        tf32: FLOP/s of float32 convolutions, which cuDNN computes in TF32.
        single: FLOP/s of other float32 operators.
        bandwidth: bytes/s of the memory.
        link: bytes/s that a GPU sends to the others.
        memory: bytes.
        reached: share of the FLOP/s that operators reach.
        streamed: share of the bandwidths that they reach.
        start: seconds to start an operator, or a collective's step from one rank to the next.
    """

    name: str
    half: float
    tf32: float
    single: float
    bandwidth: float
    link: float
    memory: float
    reached: float = 0.5
    streamed: float = 0.8
    start: float = 4 * MICRO

    def seconds(self, operation: Operation, ranks: int) -> float:
        """Return how long an operator takes."""
        if operation.sent:
            return operation.sent / (self.link * self.streamed) + 2 * (ranks - 1) * self.start
        computing = operation.flops / (self._peak(operation) * self.reached)
        return max(computing, operation.moved / (self.bandwidth * self.streamed), self.start)

    def assumptions(self) -> str:
        """Return one line about what is assumed."""
        return (
            f"{self.name}: {self.half / TERA:.0f} TFLOP/s in half precision, {self.tf32 / TERA:.0f} in TF32 (float32 convolutions), "
            f"{self.single / TERA:.0f} in float32, {self.bandwidth / TERA:.2f} TB/s of memory, {self.link / GIGA:.0f} GB/s to other GPUs; "
            f"{self.reached:.0%} of the FLOP/s and {self.streamed:.0%} of the bandwidths are reached, an operator takes at least "
            f"{self.start / MICRO:.0f} us, collectives overlap with nothing"
        )

    def _peak(self, operation: Operation) -> float:
        if operation.dtype in (torch.float16, torch.bfloat16):
            return self.half
        return self.tf32 if "convolution" in operation.kind else self.single


# Data sheets of the SXM models with 80 GB, without sparsity; NVLink in one direction.
GPUS = {
    "h100": GPU("h100", 989 * TERA, 495 * TERA, 67 * TERA, 3.35 * TERA, 450 * GIGA, 80e9),
    "a100": GPU("a100", 312 * TERA, 156 * TERA, 19.5 * TERA, 2.04 * TERA, 300 * GIGA, 80e9),
}
