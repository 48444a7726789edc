"""How long models take for one face on this CPU, measured in turns, so that a busy machine slows all alike."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.modes import evaluating

WARM_UP, ROUNDS, SECONDS = 3, 50, 4.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one face.

    Args:
        median: of all rounds.
        low: lower quartile.
        high: upper quartile.
        rounds: how often it was measured.
    """

    median: float
    low: float
    high: float
    rounds: int


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


def measure_latency(models: Mapping[str, Embed], rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Latency]:
    """Time one forward of one face, batch 1, model after model, round after round.

    Args:
        models: name -> model on the CPU.
        rounds: at most.
        seconds: no new round is begun after so long; three rounds are made at least.
    """
    face = torch.zeros(1, 3, FACE_SIZE, FACE_SIZE)
    taken: dict[str, list[float]] = {name: [] for name in models}
    for embed in models.values():
        for _ in range(WARM_UP):
            _time(embed, face)
    started = time.perf_counter()
    for turn in range(rounds):
        if turn >= WARM_UP and time.perf_counter() - started > seconds:
            break
        for name, embed in models.items():
            taken[name].append(_time(embed, face))
    return {name: _summary(np.array(times)) for name, times in taken.items()}


@torch.inference_mode()
def _time(embed: Embed, face: torch.Tensor) -> float:
    with evaluating(embed):
        started = time.perf_counter()
        embed(face)
        return 1000 * (time.perf_counter() - started)


def _summary(times: np.ndarray) -> Latency:
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75])
    return Latency(float(median), float(low), float(high), len(times))
