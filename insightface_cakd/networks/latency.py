"""Measures how long networks take for one face on this CPU."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.modes import evaluating

ROUNDS, WARM_UP, SECONDS = 50, 3, 4.0


@dataclass(frozen=True)
class Latency:
    """Median and quartiles of the time for one face, in milliseconds."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class SpeedUp:
    """Time of one network, compared with the first one.

    `speed_up` is the median over the rounds of the first network's time divided by this one's.
    """

    milliseconds: float
    speed_up: float


def measure_latency(models: Mapping[str, Embed], rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Latency]:
    """Time one forward pass of each model on one face.

    The models are on the CPU. After `seconds` no new round begins, but at least three rounds are made.
    """
    face = torch.zeros(1, 3, FACE_SIZE, FACE_SIZE)
    times = _times([partial(_embed, model, face) for model in models.values()], rounds, seconds)
    quartiles = np.quantile(times, [0.25, 0.5, 0.75], axis=0)
    return {
        name: Latency(float(median), float(low), float(high), len(times))
        for name, (low, median, high) in zip(models, quartiles.T, strict=True)
    }


def measure_speed_up(networks: Sequence[Callable[[np.ndarray], object]], rounds: int = ROUNDS) -> list[SpeedUp]:
    """Time networks of any runtime on one face, against the first."""
    face = np.random.default_rng(0).uniform(-1, 1, (1, 3, FACE_SIZE, FACE_SIZE)).astype(np.float32)
    times = _times([partial(_milliseconds, partial(network, face)) for network in networks], rounds)
    measured = np.median([times, times[:, :1] / times], axis=1)  # (2, networks)
    return [SpeedUp(float(middle), float(speed_up)) for middle, speed_up in measured.T]


def onnx_embedder(file: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a callable that embeds a face with onnxruntime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda face: session.run(None, {name: face})[0]


@torch.inference_mode()
def _embed(model: Embed, face: torch.Tensor) -> float:
    with evaluating(model):
        return _milliseconds(partial(model, face))


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def _times(calls: Sequence[Callable[[], float]], rounds: int, seconds: float = math.inf) -> np.ndarray:
    """Warm up each call, then time the calls in turns.

    Each call returns its milliseconds; the result is (rounds, calls). No new round begins after `seconds`, but at least
    `WARM_UP` rounds are made.
    """
    for call in calls:
        for _ in range(WARM_UP):
            call()
    started, times = time.perf_counter(), list[list[float]]()
    while len(times) < rounds and (len(times) < WARM_UP or time.perf_counter() - started <= seconds):
        times.append([call() for call in calls])
    return np.array(times)
