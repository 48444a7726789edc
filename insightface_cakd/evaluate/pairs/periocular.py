"""Verification by eye strip, by face, and strip against face."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.bins import VerificationSet, load_bin
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.bootstrap import Interval, Resamples, interval_of
from insightface_cakd.evaluate.pairs.eer import eer_interval, equal_error_rate
from insightface_cakd.evaluate.pairs.embeddings import embed_both
from insightface_cakd.evaluate.pairs.mistakes import nearest_mistakes
from insightface_cakd.evaluate.pairs.set_tables import SetResults
from insightface_cakd.evaluate.pairs.sets import SetResult, find_sets, tar_intervals
from insightface_cakd.evaluate.pairs.variants import seen_faces
from insightface_cakd.evaluate.pairs.verification import judge, mean_norm, pair_distances, require_kinds
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.networks.periocular import PeriocularNetwork
from insightface_cakd.report.tables import Row
from insightface_cakd.views import EyeStrip

STRIP, FACE, ACROSS = "strip", "face", "strip against face"


@dataclass(frozen=True, eq=False)
class PeriocularResults(SetResults):
    """A model's numbers by strip, by face and across, of each set.

    Args:
        sets: three results per set, whose variants are the ways of comparing.
        errors: equal error rate and its interval of each.
        note: how strip and face were embedded.
    """

    errors: Sequence[tuple[float, Interval]]
    note: str

    def rows(self) -> list[Row]:
        """Return one row per set and way of comparing."""
        return [
            {("by" if key == "variant" else key): cell for key, cell in row.items()}
            | {"EER": f"{100 * rate:.2f} % {interval.points()}"}
            for row, (rate, interval) in zip(super().rows(), self.errors, strict=True)
        ]

    def lines(self) -> list[str]:
        """Return how strip and face were embedded, then the usual lines."""
        return [self.note, *super().lines()]

    def facts(self) -> list[dict[str, Any]]:
        """Return the numbers of each set and way of comparing."""
        return [
            {**facts, "eer": rate, "eer_interval": [interval.low, interval.high]}
            for facts, (rate, interval) in zip(super().facts(), self.errors, strict=True)
        ]


def measure_periocular(network: Embed, places: Sequence[Path], execution: Execution) -> PeriocularResults:
    """Measure a model by strip, by face, and strip against face.

    Images are embedded with their mirror images, as in `verify`. Across, the first image of a pair is a face and the second a strip.

    Args:
        network: one of CKD's answers with its two branches; any other embeds the face, and the face with all but the strip grey.
        places: .bin verification sets, or folders of them.
        execution: how to run.
    """
    embeds, note = _embeds(network)
    found = find_sets(places)
    loaded = {}
    for name, path in found.items():
        loaded[name] = load_bin(path)
        require_kinds(loaded[name].same, str(path))
    results, errors = [], []
    with evaluating(network):
        for name, pairs in loaded.items():
            for result, error in _measure(embeds, name, pairs, execution):
                results.append(result)
                errors.append(error)
    return PeriocularResults(results, errors, note)


def _embeds(network: Embed) -> tuple[dict[str, Embed], str]:
    """Return what embeds strip and face, and how, in a sentence."""
    if isinstance(network, PeriocularNetwork):
        branches: dict[str, Embed] = {
            STRIP: lambda images: network.by("strip", images),
            FACE: lambda images: network.by("face", images),
        }
        return branches, "Strip and face by the branches of the network, each with its own last stage."
    view, nothing = EyeStrip(), torch.Generator()

    def strip(images: Tensor) -> Tensor:
        return network(view(images, nothing))

    note = "No network of two branches: the strip is rows 31 to 72 of the face with the rest grey, embedded by the same model."
    return {STRIP: strip, FACE: network}, note


def _measure(
    embeds: dict[str, Embed], name: str, pairs: VerificationSet, execution: Execution
) -> list[tuple[SetResult, tuple[float, Interval]]]:
    rows, norms = {}, {}
    for way, embed in embeds.items():
        with execution.bar(f"{name}, {way}") as progress:
            both = embed_both(embed, pairs.images, execution.device, execution.batch_size, progress, execution.shared)
        rows[way], norms[way] = both[0] + both[1], mean_norm(*both)
    rows[ACROSS], norms[ACROSS] = rows[FACE].copy(), (norms[FACE] + norms[STRIP]) / 2
    rows[ACROSS][1::2] = rows[STRIP][1::2]
    resamples = Resamples.of(pairs)
    found = [_judged(name, way, rows[way], norms[way], resamples) for way in rows]
    (by_strip, error), *others = found
    wrong = nearest_mistakes(name, by_strip.verified, pairs.images)
    seen = [replace(one, faces=seen_faces(one.faces, EyeStrip())) for one in wrong]
    return [(replace(by_strip, mistakes=seen), error), *others]


def _judged(
    name: str, way: str, rows: np.ndarray, xnorm: float, resamples: Resamples
) -> tuple[SetResult, tuple[float, Interval]]:
    verified = judge(pair_distances(rows), resamples.same, f"{name}, {way}")
    interval = interval_of(resamples.mean(verified.right, verified.weights))
    result = SetResult(name, way, verified, xnorm, interval, tar_intervals(verified, resamples))
    error = equal_error_rate(verified.distances, verified.same)
    return result, (error, eer_interval(verified.distances, resamples))
