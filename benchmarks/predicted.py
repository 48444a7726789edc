"""Predicted against measured: steps of small networks on this machine's CPU."""

import time
from collections.abc import Iterator, Mapping
from statistics import median

import torch

from insightface_cakd.experiments.cost.counts.cpu import BATCH, CPU, REFERENCE, TEACHER, fitted_cpu
from insightface_cakd.experiments.cost.counts.prediction import Counts, Job, count, ratios
from insightface_cakd.experiments.cost.memory import peak_memory
from insightface_cakd.experiments.cost.steps import DISTILLATION, HeadSize, Run, timed_runs
from insightface_cakd.recipe import load_recipe
from insightface_cakd.report.tables import markdown_table

MIB = 2**20
# Recipe, student, images of a step.
STEPS = (
    ("cosine", "cnn_tiny", BATCH),
    ("cosine", "cnn_small", BATCH),
    ("cosine", "mbf_small", BATCH),
    ("urfm", "cnn_tiny", BATCH),
    ("gkd", "cnn_tiny", BATCH),
    ("cakd", "cnn_tiny", BATCH),
    ("cakd", "cnn_tiny", 4 * BATCH),
    ("cakd", "cnn_small", BATCH),
    ("cakd_vit_mbf", "mbf_small", BATCH),
)


def predicted_table(repetitions: int) -> str:
    """Return a table of predicted and measured ratios, times and peak memory.

    Time is CPU time of the process; the measured steps and their parts are taken in turn.

    Args:
        repetitions: of each, of which the median counts.
    """
    cpu = fitted_cpu()
    rows = list(_rows(cpu, repetitions))
    fitted = " and ".join(" of ".join(one) for one in REFERENCE)
    return f"{cpu.assumptions()}\n\n{markdown_table(rows)}\n\nTeacher {TEACHER}; the rates are fitted to {fitted} at batch {BATCH}."


def _rows(cpu: CPU, repetitions: int) -> Iterator[dict[str, str]]:
    device = torch.device("cpu")
    for name, student, batch in STEPS:
        recipe = load_recipe(name, [f"teacher.network={TEACHER}"])
        found = count(Job(recipe, student, batch, on_gpu=False), HeadSize())
        runs = timed_runs(recipe, student, batch, device, "fp32")
        yield row(
            f"{name}, {student}, {batch}",
            found,
            cpu,
            _measured(runs, repetitions),
            peak_memory(runs[DISTILLATION], device),
        )


def _measured(runs: Mapping[str, Run], repetitions: int) -> list[dict[str, float]]:
    """Return the CPU seconds of each call, in each repetition after two."""
    found = []
    for _ in range(2 + repetitions):
        seconds = {}
        for name, run in runs.items():
            started = time.process_time()
            run()
            seconds[name] = time.process_time() - started
        found.append(seconds)
    return found[2:]


def row(step: str, found: Counts, cpu: CPU, measured: list[dict[str, float]], peak: int) -> dict[str, str]:
    """Return one row of the table.

    Args:
        step: its name.
        found: its counts.
        cpu: rates of the prediction.
        measured: seconds by call, of each repetition.
        peak: bytes that the step allocates, measured.
    """
    seconds = found.seconds(cpu, ranks=1)
    foreseen, seen = ratios(seconds)["floor"], median(ratios(one)["floor"] for one in measured)
    taken = median(one[DISTILLATION] for one in measured)
    counted = found.memory["gradients"] + found.memory["activations"]
    return {
        "recipe, student, batch": step,
        "step / floor": f"{foreseen:.3f}",
        "measured": f"{seen:.3f}",
        "ratio off by": f"{foreseen / seen - 1:+.1%}",
        "ms": f"{1000 * seconds[DISTILLATION]:.1f}",
        "ms measured": f"{1000 * taken:.1f}",
        "time off by": f"{seconds[DISTILLATION] / taken - 1:+.1%}",
        "MiB": f"{counted / MIB:.1f}",
        "MiB measured": f"{peak / MIB:.1f}",
    }
