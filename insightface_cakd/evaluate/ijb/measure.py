"""From embeddings to numbers: templates, pairs and searches of one IJB set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from insightface_cakd.evaluate.ijb.gallery import Search, read_search, search_lists
from insightface_cakd.evaluate.ijb.identification import Identification, identify
from insightface_cakd.evaluate.ijb.lists import Faces, Pairs, Tree, read_pairs
from insightface_cakd.evaluate.ijb.presets import Mode, Preset, Protocol
from insightface_cakd.evaluate.ijb.roc import Roc, roc_of
from insightface_cakd.evaluate.ijb.scores import score_pairs
from insightface_cakd.evaluate.ijb.store import Embeddings
from insightface_cakd.evaluate.ijb.templates import Templates, Weighting, pool_templates
from insightface_cakd.runtime.progress import Progress


@dataclass(frozen=True)
class Lists:
    """The lists to measure on: pairs for 1:1, search for 1:N."""

    faces: Faces
    pairs: Pairs | None
    search: Search | None


@dataclass(frozen=True)
class Measured:
    """The numbers of one mode; None are those not asked for.

    Args:
        scores: float64 (P,), in the order of the pair list.
    """

    mode: Mode
    scores: np.ndarray | None
    roc: Roc | None
    identification: Identification | None


def read_lists(tree: Tree, faces: Faces, protocol: Protocol, workers: int = 2) -> Lists:
    """Read a protocol's lists; `auto` includes 1:N if one of its exists."""
    ids = np.unique(faces.templates)
    pairs = read_pairs(tree, ids, workers) if protocol != "1N" else None
    searched = protocol in ("1N", "both") or (protocol == "auto" and any(path.exists() for path in search_lists(tree)))
    return Lists(faces, pairs, read_search(tree, ids) if searched else None)


def measure(
    embeddings: Embeddings,
    lists: Lists,
    preset: Preset,
    modes: Sequence[Mode],
    workers: int = 2,
    progress: Progress | None = None,
    enrolled: Embeddings | None = None,
) -> list[Measured]:
    """Measure embeddings in some modes, one after the other.

    Args:
        progress: called with (pairs scored, pairs in all), for each mode.
        enrolled: another model's embeddings, for the first template of each pair and both galleries of 1:N.
    """
    found = []
    for mode in modes:
        templates = _pool(embeddings, lists, mode, preset, workers)
        gallery = _pool(enrolled, lists, mode, preset, workers) if enrolled else None
        scores = score_pairs(templates, lists.pairs, workers, progress, gallery) if lists.pairs else None
        roc = roc_of(scores, lists.pairs.same) if lists.pairs and scores is not None else None
        searched = identify(templates, lists.search, gallery) if lists.search else None
        found.append(Measured(mode, scores, roc, searched))
    return found


def _pool(embeddings: Embeddings, lists: Lists, mode: Mode, preset: Preset, workers: int) -> Templates:
    weighting = Weighting(embeddings, lists.faces.scores, mode, preset)
    return pool_templates(weighting, lists.faces.templates, lists.faces.medias, workers)
