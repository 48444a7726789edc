"""Distances of a set's pairs under a student, kept in its run."""

import hashlib
import json
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
from insightface_cakd.runtime.atomic import write_text
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.reading import parse_json, reading
from insightface_cakd.runtime.run_folder import RunFolder

DISTANCES = "distances.json"
# Of squared distances in [0, 4]: far below the step of the thresholds.
DIGITS = 6


def distances_of(run: Path, name: str, pairs: VerificationSet) -> np.ndarray:
    """Return squared distances (P,), rounded; measure them once.

    They are kept in `distances.json`, with the hashes of pairs and weights: what has changed is measured anew. Where the weights are gone,
    as in published evidence, what was kept counts.

    Args:
        run: folder of a finished run.
        name: of the set.
        pairs: the set.

    Raises:
        EvaluationError: there are no weights, and nothing was kept for these pairs.
    """
    kept, weights, asked = _kept(run), _hash_of(RunFolder(run).model), _hash_of_pairs(pairs)
    found = kept.get(name)
    if found is not None and found["pairs"] == asked and weights in (None, found["weights"]):
        return np.array(found["distances"])
    execution = Execution(choose_device(None))
    embed = run_entry(run.name, run).load(get_model, execution.device)
    rows, _ = embed_pairs(embed, pairs, Variant(PLAIN), execution, f"{run} on {name}")
    distances = pair_distances(rows).round(DIGITS)
    kept = {**kept, name: {"pairs": asked, "weights": weights, "distances": distances.tolist()}}
    # A line for each set, not for each of thousands of numbers.
    lines = ",\n".join(f"{json.dumps(one)}: {json.dumps(content)}" for one, content in kept.items())
    write_text(run / DISTANCES, f"{{\n{lines}\n}}\n", EvaluationError)
    return distances


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


def _hash_of(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _hash_of_pairs(pairs: VerificationSet) -> str:
    return hashlib.sha256(pairs.images.tobytes() + pairs.same.tobytes()).hexdigest()
