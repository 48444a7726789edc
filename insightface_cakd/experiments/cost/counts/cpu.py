"""How fast this CPU is, from the operators of steps on it."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from math import inf
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch

from insightface_cakd.experiments.cost.counts.operations import Operation, Operations
from insightface_cakd.experiments.cost.counts.parts import Parts
from insightface_cakd.experiments.cost.steps import DISTILLATION, timed_runs
from insightface_cakd.recipe import load_recipe

# Recipes with students whose steps have every kind of operator.
REFERENCE = (("cakd", "cnn_small"), ("cakd_vit_mbf", "mbf_small"))
TEACHER = "vit_tiny"
BATCH = 16
# Bytes below which an operator's work does not show.
SMALL = 65536


class Timed(Operations):
    """Lists operators with the seconds that each took.

    Attributes:
        seconds: of the operators in `done`.
    """

    def __init__(self) -> None:
        super().__init__(Parts(), ranks=1)
        self.seconds: list[float] = []
        self._last = 0.0

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Return what an operator answers, and keep the time that it took."""
        started = time.process_time()
        result = func(*args, **kwargs)
        self._last = time.process_time() - started
        return result

    def _note(self, *args: Any, **kwargs: Any) -> None:
        super()._note(*args, **kwargs)
        self.seconds.append(self._last)


class CPU:
    """This machine's CPU, by the operators of calls that ran on it.

    An operator takes a start, f seconds for each FLOP and b for each byte; f and b are fitted to all calls of its name, or for a name that
    was not met, of its kind. The start is that of the quickest twentieth. All is multiplied by one factor, since a call takes longer than
    its operators. Seconds are those of the process, so that other processes do not count; of one thread.

    Args:
        runs: calls whose operators are timed.
        repetitions: of each, of which the median counts.
    """

    # That of a CPU is not predicted.
    memory = inf

    def __init__(self, runs: Iterable[Callable[[], object]], repetitions: int = 5) -> None:
        timed: list[tuple[Operation, float]] = []
        whole = 0.0
        for run in runs:
            operators, taken = _timed(run, repetitions)
            timed, whole = timed + operators, whole + taken
        self.start = quantiles([seconds for _, seconds in timed], n=20)[0]
        found: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
        for operation, seconds in timed:
            # Of smaller ones the time is that of the start.
            if operation.moved >= SMALL:
                work = (operation.flops, operation.moved, max(0.0, seconds - self.start))
                for key in (_key(operation), operation.kind):
                    found[key].append(work)
        self.rates = {key: _fitted(np.array(works)) for key, works in found.items()}
        self.factor = 1.0
        self.factor = whole / sum(self.seconds(operation, 1) for operation, _ in timed)

    def assumptions(self) -> str:
        """Return one line about what is assumed."""
        rates = {kind: self.rates.get(kind, (0.0, 0.0))[0] for kind in ("matrices", "convolution")}
        speeds = ", ".join(f"{1e-9 / rate:.0f} GFLOP/s of {kind}" for kind, rate in rates.items() if rate)
        return (
            f"cpu: CPU seconds of each operator, fitted now to the steps {' and '.join(map(' of '.join, REFERENCE))} with {TEACHER}, batch "
            f"{BATCH} ({speeds}; an operator takes at least {1e6 * self.start:.0f} us, and "
            f"all together {self.factor:.2f} times as long)"
        )

    def seconds(self, operation: Operation, ranks: int) -> float:
        """Return how long an operator takes."""
        per_flop, per_byte = self.rates.get(_key(operation)) or self.rates.get(operation.kind, (0.0, 0.0))
        return self.factor * (self.start + operation.flops * per_flop + operation.moved * per_byte)


def fitted_cpu() -> CPU:
    """Return this machine's CPU, fitted to the reference steps."""
    recipes = [(load_recipe(name, [f"teacher.network={TEACHER}"]), student) for name, student in REFERENCE]
    runs = [timed_runs(recipe, student, BATCH, torch.device("cpu"), "fp32") for recipe, student in recipes]
    return CPU([one[DISTILLATION] for one in runs])


def _fitted(works: np.ndarray) -> tuple[float, float]:
    """Return the seconds of a FLOP and of a byte, neither below 0.

    Least squares, where a long call counts as much as short ones of the same time together.

    Shape:
        works: (calls, 3), FLOPs, bytes, seconds.
    """
    weights = 1 / np.sqrt(works[:, 2:].clip(1e-6))
    computed, moved, seconds = (works * weights).T
    alone = [float(one @ seconds / max(one @ one, 1e-30)) for one in (computed, moved)]
    both = np.linalg.lstsq(np.stack([computed, moved], axis=1), seconds, rcond=None)[0]
    if (both >= 0).all():
        return float(both[0]), float(both[1])
    errors = [float(np.sum((one * rate - seconds) ** 2)) for one, rate in zip((computed, moved), alone, strict=True)]
    return (alone[0], 0.0) if errors[0] < errors[1] else (0.0, alone[1])


def _timed(run: Callable[[], object], repetitions: int) -> tuple[list[tuple[Operation, float]], float]:
    """Return a call's operators with the seconds of each, and the seconds of the call."""
    run()
    each: dict[int, list[Timed]] = defaultdict(list)
    whole = []
    for _ in range(repetitions):
        started = time.process_time()
        run()
        whole.append(time.process_time() - started)
        with Timed() as timed:
            run()
        each[len(timed.done)].append(timed)
    # Every ten steps a run measures its gradients by some operators more.
    usual = max(each.values(), key=len)
    seconds = [median(one) for one in zip(*(timed.seconds for timed in usual), strict=True)]
    return list(zip(usual[0].done, seconds, strict=True)), median(whole)


def _key(operation: Operation) -> str:
    return f"{operation.name}, {operation.kind}"
