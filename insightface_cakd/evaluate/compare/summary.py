"""A comparison of finished runs, as sections of an experiment's report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from insightface_cakd.evaluate.compare.comparison import Difference
from insightface_cakd.evaluate.compare.run import compare_models
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.mixed.sets import MixedSets, mixed_set
from insightface_cakd.evaluate.pairs.sets import varied_sets
from insightface_cakd.evaluate.pairs.variants import parse_variants
from insightface_cakd.networks.entries import find_entry
from insightface_cakd.networks.models import GetModel
from insightface_cakd.report.result import Section
from insightface_cakd.report.run_report import page_sections
from insightface_cakd.runtime.progress import progress_bar

BATCH = 64
# Spent on measuring latency: little, compared with the experiment.
SECONDS = 1.0


@dataclass(frozen=True)
class RunComparison:
    """The outcome of comparing several runs, for a report.

    Sentences say what a model gains over the first, and what the teacher's gallery costs under the student's probes.

    Args:
        differences: of each model but the first, against the first.
        pairs: on so many.
    """

    sections: list[Section]
    sentences: list[str]
    differences: Mapping[str, Difference]
    pairs: int


def compare_runs(
    models: Mapping[str, Path],
    pairs_file: Path,
    device: torch.device,
    get_model: GetModel,
    mixed: tuple[str, str] | None = None,
) -> RunComparison:
    """Compare models on one .bin file; the first is the baseline.

    Args:
        models: name -> output folder of a run, or an .onnx.
        pairs_file: the .bin.
        device: where embeddings are computed; latency is measured on the CPU.
        mixed: names of a teacher and a student for mixed enrolment, which is left out where their embeddings have
            different widths and so cannot be compared.
    """
    entries = [replace(find_entry(place), name=name) for name, place in models.items()]
    execution = Execution(device, BATCH, bar=progress_bar)
    ((name, variant, pairs),) = varied_sets([pairs_file], parse_variants(()))
    outcome = compare_models(entries, [(name, variant, pairs)], get_model, execution, seconds=SECONDS)
    sections, said = page_sections(outcome), outcome.sentences()
    if mixed is not None and len({outcome.embeddings[model].shape[1] for model in mixed}) == 1:
        teacher, student = ((model, outcome.embeddings[model]) for model in mixed)
        found = mixed_set(name, pairs, teacher, student)
        sections.append(Section("Mixed enrolment", MixedSets([found]).rows(), notes=[found.sentence()]))
        said.append(found.sentence())
    found_all = outcome.comparison.models.items()
    differences = {model: scored.difference for model, scored in found_all if scored.difference is not None}
    return RunComparison(sections, said, differences, len(pairs.same))
