"""How long a network takes for one face on the CPU."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from insightface_cakd.data.images import FACE_SIZE

ROUNDS, WARM_UP = 50, 5


@dataclass(frozen=True)
class Latency:
    """Of one network.

    Args:
        milliseconds: median over all rounds, batch of one.
        speed_up: median over the rounds of the first network's time divided by this one's; 1 for the first.
    """

    milliseconds: float
    speed_up: float


def measure_latency(networks: Sequence[Callable[[np.ndarray], object]], rounds: int = ROUNDS) -> list[Latency]:
    """Time networks in turn, one face each, so that what else the machine does meets all alike.

    Args:
        networks: each takes a face (1, 3, 112, 112); the first is what the others are compared with.
        rounds: how often each is run.
    """
    face = np.random.default_rng(0).uniform(-1, 1, (1, 3, FACE_SIZE, FACE_SIZE)).astype(np.float32)
    seconds = np.empty((WARM_UP + rounds, len(networks)))
    for row in seconds:
        for i, network in enumerate(networks):
            start = time.perf_counter()
            network(face)
            row[i] = time.perf_counter() - start
    seconds = seconds[WARM_UP:]
    speed_ups = np.median(seconds[:, :1] / seconds, axis=0)
    return [
        Latency(1000 * float(middle), float(speed_up))
        for middle, speed_up in zip(np.median(seconds, axis=0), speed_ups, strict=True)
    ]


def onnx_embedder(file: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what embeds a face with onnxruntime on the CPU.

    Args:
        file: a recogniser with an input [batch, 3, 112, 112].
        threads: of one operator.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda face: session.run(None, {name: face})[0]
