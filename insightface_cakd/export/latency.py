"""How long a file takes for one face, on onnxruntime's CPU."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from insightface_cakd.data.images import FACE_SIZE

ROUNDS, WARM_UP = 50, 5


@dataclass(frozen=True)
class Latency:
    """Of one file.

    Args:
        milliseconds: median over all rounds, batch of one.
        speed_up: median over the rounds of the first file's time divided by this one's; 1 for the first.
    """

    milliseconds: float
    speed_up: float


def measure_latency(files: Sequence[Path], threads: int = 1, rounds: int = ROUNDS) -> list[Latency]:
    """Time files in turn, one face each, so that what else the machine does meets all alike.

    Args:
        files: recognisers with an input [batch, 3, 112, 112]; the first is what the others are compared with.
        threads: of onnxruntime.
        rounds: how often each is run.
    """
    sessions = [open_session(file, threads) for file in files]
    face = np.random.default_rng(0).uniform(-1, 1, (1, 3, FACE_SIZE, FACE_SIZE)).astype(np.float32)
    feeds = [{session.get_inputs()[0].name: face} for session in sessions]
    seconds = np.empty((WARM_UP + rounds, len(files)))
    for row in seconds:
        for i, (session, feed) in enumerate(zip(sessions, feeds, strict=True)):
            start = time.perf_counter()
            session.run(None, feed)
            row[i] = time.perf_counter() - start
    seconds = seconds[WARM_UP:]
    speed_ups = np.median(seconds[:, :1] / seconds, axis=0)
    return [
        Latency(1000 * float(middle), float(speed_up))
        for middle, speed_up in zip(np.median(seconds, axis=0), speed_ups, strict=True)
    ]


def open_session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    """Return a session on the CPU.

    Args:
        file: the .onnx.
        threads: of one operator.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
