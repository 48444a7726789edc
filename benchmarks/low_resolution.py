"""Accuracy of a comparison's students at low resolution, with and without FaceBN."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.seeds import mean_cell
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.sets import measure_sets
from insightface_cakd.evaluate.pairs.variants import On, parse_variants
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
    networks = [find_entry(run, None, "a run").load(get_model, execution.device) for run in runs]
    variants = parse_variants(["plain" if size == WHOLE else f"lowres:{size}" for size in sizes], face_bn)
    tables = []
    titles: dict[On, str] = {"both": "both images low", "probe": "one image low, the other full"}
    for on, title in titles.items():
        found: dict[tuple[str, float], list[list[float]]] = {}
        for run, network in zip(runs, networks, strict=True):
            results = measure_sets(network, [place], variants, execution, on)
            for share in dict.fromkeys(one.face_bn for one in variants):
                accuracies = [100 * one.verified.accuracy for one in results if one.face_bn == share]
                found.setdefault((run.name, share), []).append(accuracies)
        rows = [
            {title: name, "": f"FaceBN {share:g}" if share else ""} | _cells(sizes, seeds)
            for (name, share), seeds in found.items()
        ]
        tables.append(markdown_table(rows))
    return "\n\n".join(tables)


def _cells(sizes: Sequence[int], seeds: Sequence[Sequence[float]]) -> dict[str, str]:
    return {f"{size} px": mean_cell(values, 2) for size, values in zip(sizes, zip(*seeds, strict=True), strict=True)}
