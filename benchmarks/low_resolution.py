"""Accuracy of a comparison's students at low resolution, with and without FaceBN."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.sets import measure_sets
from insightface_cakd.evaluate.pairs.variants import On, Variant, parse_variants
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import find_entry
from insightface_cakd.report.tables import markdown_table
from insightface_cakd.runtime.run_folder import RunFolder

WHOLE = 112


def bench_low_resolution(
    comparison: Path, place: Path, sizes: Sequence[int], face_bn: float, execution: Execution
) -> str:
    """Return two tables: low against low, and low against full resolution.

    Rows are the methods of a comparison, means over its seeds with their standard deviation in points.

    Args:
        comparison: output folder of `cakd compare`, with SEED/NAME.
        place: the .bin file.
        sizes: pixels per side; 112 is the image as it is.
        face_bn: share of the test's statistics in the rows with FaceBN; 0 leaves those rows out.
        execution: how to run.
    """
    runs = sorted(path for path in comparison.glob("*/*") if RunFolder(path).finished)
    if not runs:
        raise EvaluationError(f"{comparison}: no finished runs; expected the output folder of `cakd compare`.")
    tables = []
    titles: dict[On, str] = {"both": "both images low", "probe": "one image low, the other full"}
    for on, title in titles.items():
        found: dict[tuple[str, str], list[list[float]]] = {}
        for run in runs:
            for share in (0.0, face_bn) if face_bn else (0.0,):
                key = (run.name, f"FaceBN {share:g}" if share else "")
                found.setdefault(key, []).append(_accuracies(run, place, sizes, share, on, execution))
        rows = [{title: name, "": kind} | _cells(sizes, seeds) for (name, kind), seeds in found.items()]
        tables.append(markdown_table(rows))
    return "\n\n".join(tables)


def _accuracies(
    run: Path, place: Path, sizes: Sequence[int], share: float, on: On, execution: Execution
) -> list[float]:
    """Return the accuracy in percent at each size."""
    variants: list[Variant] = parse_variants(["plain" if size == WHOLE else f"lowres:{size}" for size in sizes])
    network = find_entry(run, None, "a run").load(get_model, execution.device)
    found = measure_sets(network, [place], [replace(one, face_bn=share) for one in variants], execution, on)
    return [100 * one.verified.accuracy for one in found]


def _cells(sizes: Sequence[int], seeds: Sequence[Sequence[float]]) -> dict[str, str]:
    cells = {}
    for size, values in zip(sizes, zip(*seeds, strict=True), strict=True):
        spread = f" ({stdev(values):.2f})" if len(values) > 1 else ""
        cells[f"{size} px"] = f"{mean(values):.2f}{spread}"
    return cells
