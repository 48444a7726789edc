"""Anti-spoofing with one domain left out: floors, ONNX models and runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from scipy.optimize import minimize
from torch import Tensor

from benchmarks.colour_texture import colour_texture, grey_pixels
from benchmarks.seeds import mean_cell
from insightface_cakd.data.liveness import LiveFaces, read_liveness
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.liveness.models import load_live_model
from insightface_cakd.evaluate.liveness.result import LivenessResult, Scored
from insightface_cakd.evaluate.liveness.scoring import Input, measure_liveness
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.report.tables import Row, markdown_table
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.run_folder import RunFolder

DECAY = 1e-2
RATES = ("AUC", "EER", "HTER")
# Describes a face, uint8 (112, 112, 3) RGB, by a vector.
FLOORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "grey pixels, 16 x 16, linear": grey_pixels,
    "colour histograms + LBP, linear": colour_texture,
}
Measured = dict[str, LivenessResult]
# Called with one seed's choice of faces.
Model = tuple[Callable[[Tensor], Tensor], Input]


def bench_liveness(data: Path, seeds: Sequence[int], models: dict[str, Model], runs: Path | None = None) -> str:
    """Return a table for each measure: a line a model, a column a domain.

    Each domain in turn is tested, with the threshold of the equal error rate on the others. A floor learns from a random four fifths of
    the other domains' faces, and its threshold is that of the remaining fifth; models learn nothing, and are measured once. Runs have
    learnt from all other domains, which also give their threshold.

    Args:
        data: see `read_liveness`, at least two domains.
        seeds: of the floors' split; the standard deviation over them stands in brackets.
        models: what answers logits by title, with what it takes.
        runs: has NAME/DOMAIN/SEED, each a run of task `liveness` that was trained without DOMAIN.

    Raises:
        EvaluationError: a domain or a seed of some domain is missing among the runs.
    """
    faces = read_liveness(data).require_both_kinds(domains=2)
    found: dict[str, list[Measured]] = {"majority": [{name: _majority(faces, name) for name in faces.domains}]}
    for title, describe in FLOORS.items():
        rows = np.stack([describe(faces.image(index)) for index in range(len(faces))]).astype(np.float64)
        found[title] = [{name: _floor(faces, rows, name, seed) for name in faces.domains} for seed in seeds]
    others = {name: [one for one in faces.domains if one != name] for name in faces.domains}
    for title, (model, given) in models.items():
        found[title] = [{name: measure_liveness(model, faces, others[name], [name], given) for name in faces.domains}]
    for folder in sorted(runs.iterdir()) if runs is not None else ():
        found[folder.name] = [
            {name: _run(folder / name / seed, faces, others[name], name) for name in faces.domains}
            for seed in _seeds(folder, faces.domains)
        ]
    return "\n\n".join(markdown_table([_row(rate, *line) for line in found.items()]) for rate in RATES)


def _seeds(folder: Path, domains: Sequence[str]) -> list[str]:
    """Return the names of the seeds, the same for each domain."""
    found = {name: sorted(one.name for one in (folder / name).glob("*") if RunFolder(one).finished) for name in domains}
    first = found[domains[0]]
    for name, there in found.items():
        if not there or there != first:
            raise EvaluationError(
                f"{folder / name}: finished runs {there}; expected those of {domains[0]}, {first}, at least one. Train them all."
            )
    return first


def _run(folder: Path, faces: LiveFaces, others: Sequence[str], tested: str) -> LivenessResult:
    given = Input(live_class=1)
    model, _ = load_live_model(folder, None, given.size, get_model, choose_device(None))
    return measure_liveness(model, faces, list(others), [tested], given)


def _row(rate: str, title: str, runs: Sequence[Measured]) -> Row:
    """Return the line of a model: each domain, then the mean of all."""
    values = {name: [run[name].facts()[rate.lower()] for run in runs] for name in runs[0]}
    means = [mean(seed) for seed in zip(*values.values(), strict=True)]
    return {rate: title} | {name: mean_cell(seeds, 3) for name, seeds in values.items()} | {"mean": mean_cell(means, 3)}


def _majority(faces: LiveFaces, tested: str) -> LivenessResult:
    """Return the rates of one score for all: chance."""
    inside = faces.domain == faces.domains.index(tested)
    return _result(faces, np.zeros(len(faces)), np.flatnonzero(~inside), inside, tested)


def _floor(faces: LiveFaces, rows: np.ndarray, tested: str, seed: int) -> LivenessResult:
    """Return the rates of a logistic regression on descriptions (N, D)."""
    inside = faces.domain == faces.domains.index(tested)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~inside))
    held, learnt = order[: len(order) // 5], order[len(order) // 5 :]
    centre, spread = rows[learnt].mean(axis=0), rows[learnt].std(axis=0) + 1e-6
    standard = (rows - centre) / spread
    weights = logistic_regression(standard[learnt], faces.live[learnt])
    return _result(faces, standard @ weights[:-1] + weights[-1], held, inside, tested)


def _result(faces: LiveFaces, scores: np.ndarray, held: np.ndarray, inside: np.ndarray, tested: str) -> LivenessResult:
    videos = np.array([f"{faces.domains[d]}/{v}" for d, v in zip(faces.domain, faces.videos, strict=True)])
    development, test = (Scored.by_video(scores[rows], faces.live[rows], videos[rows]) for rows in (held, inside))
    return LivenessResult(development, {tested: test}, "a part of the other domains")


def logistic_regression(rows: np.ndarray, live: np.ndarray, decay: float = DECAY) -> np.ndarray:
    """Return weights (D + 1,), the bias last, of the smallest loss.

    The loss is the mean of log(1 + exp(-y (x w + b))) with y = 1 live, -1 spoof, plus decay / 2 |w|^2.

    Raises:
        EvaluationError: the search does not end.
    """
    signs = 2.0 * live - 1

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (rows @ weights[:-1] + weights[-1])
        pull = -signs * np.exp(-np.logaddexp(0, margins)) / len(rows)
        gradient = np.append(rows.T @ pull + decay * weights[:-1], pull.sum())
        return float(np.logaddexp(0, -margins).mean() + decay / 2 * weights[:-1] @ weights[:-1]), gradient

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    if not found.success:
        raise EvaluationError(f"logistic regression: {found.message}; expected to end. Raise the decay, {decay}.")
    return np.asarray(found.x)
