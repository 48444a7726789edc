"""Distances of a set's pairs under a student, kept in its run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.sets import embed_pairs
from insightface_cakd.evaluate.pairs.variants import PLAIN, Variant
from insightface_cakd.evaluate.pairs.verification import pair_distances
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import run_entry
from insightface_cakd.networks.weights import file_sha256
from insightface_cakd.runtime.atomic import write_text
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.reading import parse_json, reading
from insightface_cakd.runtime.run_folder import RunFolder

DISTANCES = "distances.json"
# Of squared distances in [0, 4]: far below the step of the thresholds.
DIGITS = 6


def distances_of(run: Path, sets: Mapping[str, VerificationSet]) -> dict[str, np.ndarray]:
    """Return the squared distances (P,) of each set, rounded; measure them once.

    They are kept in `distances.json`, with the hashes of pairs and weights: what has changed is measured anew. Where the weights are gone,
    as in published evidence, what was kept counts.

    Args:
        run: folder of a finished run.
        sets: name -> pairs.

    Raises:
        EvaluationError: there are no weights, and nothing was kept for these pairs.
    """
    kept, model = _kept(run), RunFolder(run).model
    weights = file_sha256(model) if model.is_file() else None
    known = {
        name
        for name, pairs in sets.items()
        if name in kept and kept[name]["pairs"] == pairs.sha256 and weights in (None, kept[name]["weights"])
    }
    if len(known) < len(sets):
        execution = Execution(choose_device(None))
        embed = run_entry(run.name, run).load(get_model, execution.device)
        for name in sets.keys() - known:
            rows, _ = embed_pairs(embed, sets[name], Variant(PLAIN), execution, f"{run} on {name}")
            distances = pair_distances(rows).round(DIGITS).tolist()
            kept[name] = {"pairs": sets[name].sha256, "weights": weights, "distances": distances}
        # A line for each set, not for each of thousands of numbers.
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(kept[name])}" for name in sorted(kept))
        write_text(run / DISTANCES, f"{{\n{lines}\n}}\n", EvaluationError)
    return {name: np.array(kept[name]["distances"]) for name in sets}


def _kept(run: Path) -> dict[str, Any]:
    path, expected = run / DISTANCES, "what an evaluation wrote. Remove it."
    if not path.is_file():
        return {}
    with reading(path, EvaluationError, expected, ValueError):
        found = parse_json(path.read_text(encoding="utf-8"))
    wanted = {"pairs", "weights", "distances"}
    if not isinstance(found, dict) or not all(isinstance(one, dict) and wanted <= set(one) for one in found.values()):
        raise EvaluationError(f"{path}: holds no distances; expected {expected}")
    return found
