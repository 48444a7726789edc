"""Compares models, and writes the outcome as page, Markdown and JSON."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.compare.comparison import Cost, Pairs, choose_baseline, compare_pairs
from insightface_cakd.evaluate.compare.tables import ModelComparison
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.mistakes import Mistake, nearest_mistakes
from insightface_cakd.evaluate.pairs.sets import embed_pairs, titled
from insightface_cakd.evaluate.pairs.variants import Variant
from insightface_cakd.evaluate.pairs.verification import judge, pair_distances
from insightface_cakd.networks.entries import Entry, parameters
from insightface_cakd.networks.latency import SECONDS, measure_latency
from insightface_cakd.networks.models import GetModel
from insightface_cakd.report.result import Result
from insightface_cakd.report.run_report import write_result
from insightface_cakd.runtime.atomic import write_json, write_text

PAGE, TEXT, NUMBERS = "compare.html", "compare.md", "compare.json"
CPU = torch.device("cpu")


def compare_models(
    entries: Sequence[Entry],
    sets: Iterable[tuple[str, Variant, VerificationSet]],
    get_model: GetModel,
    execution: Execution,
    baseline: str | None = None,
    seconds: float = SECONDS,
) -> ModelComparison:
    """Measure models on the same pairs; the first is the default baseline.

    Sets come from `varied_sets`. Latency is always measured on the CPU, for some seconds.
    """
    if len(entries) < 2:
        raise EvaluationError("compare: one model; expected at least two. Name another run, .onnx or weights.")
    choose_baseline([entry.name for entry in entries], baseline)
    here = {entry.name: entry.load(get_model, CPU) for entry in entries}
    times = measure_latency(here, seconds=seconds)
    costs = {
        entry.name: Cost(entry.runtime, entry.megabytes, parameters(entry, here[entry.name]), times[entry.name])
        for entry in entries
    }
    models = (
        here if execution.device == CPU else {entry.name: entry.load(get_model, execution.device) for entry in entries}
    )
    answers: dict[str, Pairs] = {}
    mistakes: dict[str, list[Mistake]] = {model: [] for model in models}
    seen: set[str] = set()
    for name, variant, pairs in sets:
        what = titled(name, variant.name)
        rows = {
            model: embed_pairs(embed, pairs, variant, execution, f"{what}, {model}")[0]
            for model, embed in models.items()
        }
        distances = {model: pair_distances(found) for model, found in rows.items()}
        answers[what] = Pairs(pairs.same, distances, name, pairs.people)
        # The images go with the set, so what is shown of them is chosen now.
        for model in () if name in seen else models:
            mistakes[model] += nearest_mistakes(name, judge(distances[model], pairs.same, what), pairs.images)
        seen.add(name)
    return ModelComparison(compare_pairs(answers, baseline), costs, rows, mistakes)


def write_outcome(folder: Path, outcome: Result, title: str) -> None:
    """Write `compare.html`, `compare.md` and `compare.json`, each atomically."""
    write_result(folder / PAGE, title, outcome)
    write_text(folder / TEXT, outcome.text(), EvaluationError)
    write_json(folder / NUMBERS, outcome.facts())
