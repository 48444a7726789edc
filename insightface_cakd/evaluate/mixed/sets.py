"""Mixed enrolment on verification sets: the table, and the sentence that says whether a gallery must be enrolled again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.evaluate.mixed.mixed import Constellation, Embedded, constellations, mixed_distances
from insightface_cakd.evaluate.mixed.search import verdict
from insightface_cakd.evaluate.pairs.bootstrap import Interval, Resamples, interval_of
from insightface_cakd.evaluate.pairs.judged import Judged, judge
from insightface_cakd.evaluate.pairs.set_tables import judged_facts
from insightface_cakd.evaluate.pairs.sets import Way, embed_pairs, tar_intervals, varied_sets
from insightface_cakd.evaluate.pairs.variants import parse_variants
from insightface_cakd.networks.models import Embed
from insightface_cakd.report.run_report import Row


@dataclass(frozen=True, eq=False)
class Case:
    """One constellation on one set.

    Args:
        constellation: who enrolled and who asks.
        judged: the pairs.
        kept: whether each pair is judged right by the thresholds of the teacher alone.
        interval: of the accuracy.
        tar_intervals: of TAR.
    """

    constellation: Constellation
    judged: Judged
    kept: np.ndarray
    interval: Interval
    tar_intervals: dict[float, Interval]

    @property
    def kept_accuracy(self) -> float:
        """Accuracy with the deployed model's thresholds left as they are."""
        return float((self.kept * self.judged.weights).sum())


@dataclass(frozen=True, eq=False)
class MixedSet:
    """All constellations of two models on a set.

    Args:
        name: of the set.
        cases: teacher alone, student alone, teacher's gallery with student's probe, the reverse.
        loss: what keeping the teacher's gallery costs against enrolling again with the student, of accuracy.
        loss_interval: of that, by paired bootstrap.
    """

    name: str
    cases: tuple[Case, ...]
    loss: float
    loss_interval: Interval

    def sentence(self) -> str:
        """Return the closing sentence: the drop in points, its interval, and what follows."""
        _, student, kept, _ = self.cases
        old, new = kept.constellation.gallery, kept.constellation.probe
        points = round(100 * self.loss, 2) + 0.0  # no "-0.00"
        return (
            f"{self.name}: keeping the gallery of {old} under probes of {new} costs {points:.2f} points "
            f"{self.loss_interval.points()} of accuracy against enrolling again ({100 * kept.judged.accuracy:.2f} % for "
            f"{100 * student.judged.accuracy:.2f} %); {verdict(self.loss_interval)}. With the thresholds of {old} left as "
            f"they are: {100 * kept.kept_accuracy:.2f} %."
        )


def mixed_sets(
    teacher: tuple[str, Embed], student: tuple[str, Embed], places: Sequence[Path], way: Way
) -> list[MixedSet]:
    """Measure two models alone and mixed on verification sets: the first image of a pair is enrolled, the second asks.

    Args:
        teacher: name and model of who enrolled.
        student: name and model of who is to ask.
        places: .bin files and folders of them.
        way: how to run.

    Raises:
        EvaluationError: a set or model cannot be used, or the embeddings are of different widths.
        DataError: a set is damaged.
    """
    results = []
    for name, variant, pairs in varied_sets(places, parse_variants(())):
        rows = {who: embed_pairs(embed, pairs, variant, way, f"{name}, {who}")[0] for who, embed in (teacher, student)}
        results.append(mixed_set(name, pairs, (teacher[0], rows[teacher[0]]), (student[0], rows[student[0]])))
    return results


def mixed_set(
    name: str, pairs: VerificationSet, teacher: tuple[str, np.ndarray], student: tuple[str, np.ndarray]
) -> MixedSet:
    """Measure embeddings of two models alone and mixed.

    Args:
        name: of the set.
        pairs: the set.
        teacher: name, and embeddings (2P, D) of the set's images.
        student: the same of the other model.

    Raises:
        EvaluationError: the embeddings are of different widths or not finite, or the pairs are too few or of one kind.
    """
    by_pair = constellations(*(Embedded(who, rows[0::2], rows[1::2]) for who, rows in (teacher, student)))
    resamples = Resamples(pairs.same)
    cases: list[Case] = []
    for constellation, (gallery, probe) in by_pair.items():
        judged = judge(mixed_distances(gallery, probe), pairs.same, name)
        kept = judged.right_at((cases[0].judged if cases else judged).thresholds)
        interval = interval_of(resamples.mean(judged.right, judged.weights))
        cases.append(Case(constellation, judged, kept, interval, tar_intervals(judged, resamples)))
    again, kept_gallery = cases[1].judged, cases[2].judged
    lost = again.right.astype(float) - kept_gallery.right
    loss = interval_of(resamples.mean(lost, again.weights))
    return MixedSet(name, tuple(cases), again.accuracy - kept_gallery.accuracy, loss)


def mixed_rows(results: Sequence[MixedSet]) -> list[Row]:
    """Return the table: a row a set and constellation."""
    rows: list[Row] = []
    for result in results:
        for case in result.cases:
            strictest = [far for far, tar in case.judged.tar.items() if tar is not None][-1:]
            row = {"set": result.name, "enrolment": case.constellation.title}
            row |= {"accuracy": f"{100 * case.judged.accuracy:.2f} %", "95 %": case.interval.points()}
            row["at kept threshold"] = f"{100 * case.kept_accuracy:.2f} %"
            for far in strictest:
                row["TAR"] = f"{100 * (case.judged.tar[far] or 0):.2f} @FAR={far:g}"
            rows.append(row)
    return rows


def mixed_facts(results: Sequence[MixedSet]) -> list[dict[str, Any]]:
    """Return results as what JSON can hold."""
    return [
        {
            "set": result.name,
            "loss": result.loss,
            "loss_interval": [result.loss_interval.low, result.loss_interval.high],
            "cases": [
                {
                    "gallery": case.constellation.gallery,
                    "probe": case.constellation.probe,
                    **judged_facts(case.judged),
                    "interval": [case.interval.low, case.interval.high],
                    "accuracy_at_kept_threshold": case.kept_accuracy,
                }
                for case in result.cases
            ],
        }
        for result in results
    ]
