"""Mixed enrolment on verification sets, as a table and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.mixed.mixed import (
    Combination,
    Combinations,
    Embedded,
    mixed_distances,
    require_one_space,
)
from insightface_cakd.evaluate.mixed.search import Searched, verdict
from insightface_cakd.evaluate.pairs.bootstrap import METHOD, Interval, Resamples, interval_of
from insightface_cakd.evaluate.pairs.mistakes import Mistake, mistake_galleries, nearest_mistakes
from insightface_cakd.evaluate.pairs.set_tables import verification_facts
from insightface_cakd.evaluate.pairs.sets import embed_pairs, varied_sets
from insightface_cakd.evaluate.pairs.variants import parse_variants
from insightface_cakd.evaluate.pairs.verification import VerificationResult, judge
from insightface_cakd.networks.models import Embed
from insightface_cakd.report.result import Gallery, Result, Section, SectionedResult
from insightface_cakd.report.tables import Row


@dataclass(frozen=True, eq=False)
class Case:
    """One combination on one set.

    Args:
        kept: bool (P,), whether each pair is judged right by the thresholds of the teacher alone.
    """

    models: Combination
    verified: VerificationResult
    kept: np.ndarray
    interval: Interval

    @property
    def kept_accuracy(self) -> float:
        """Accuracy with the deployed model's thresholds unchanged."""
        return float((self.kept * self.verified.weights).sum())


@dataclass(frozen=True, eq=False)
class MixedSet:
    """All combinations of two models on a set.

    Args:
        loss: accuracy lost by keeping the teacher's gallery, compared with enrolling again with the student.
        mistakes: the worst of the kept gallery, by thresholds of its own.
    """

    name: str
    cases: Combinations[Case]
    loss: float
    loss_interval: Interval
    mistakes: Sequence[Mistake] = ()

    @property
    def short(self) -> str:
        """The loss and what follows, in half a sentence."""
        points = round(100 * self.loss, 2) + 0.0  # no "-0.00"
        return f"{self.name}: keeping the gallery costs {points:.2f} points {self.loss_interval.points()}; {verdict(self.loss_interval)}"

    def sentence(self) -> str:
        """Return the loss in percentage points, its interval, and what follows."""
        student, kept = self.cases.student_alone, self.cases.kept
        old, new = kept.models.gallery, kept.models.probe
        points = round(100 * self.loss, 2) + 0.0  # no "-0.00"
        return (
            f"{self.name}: keeping the gallery of {old} under probes of {new} costs {points:.2f} points "
            f"{self.loss_interval.points()} of accuracy against enrolling again ({100 * kept.verified.accuracy:.2f} % for "
            f"{100 * student.verified.accuracy:.2f} %); {verdict(self.loss_interval)}. With the thresholds of {old} left as "
            f"they are: {100 * kept.kept_accuracy:.2f} %."
        )


@dataclass(frozen=True, eq=False)
class MixedSets(Result):
    """Two models alone and mixed on verification sets."""

    sets: Sequence[MixedSet]

    @property
    def verdict(self) -> str:
        """What keeping the gallery costs, set by set."""
        return f"{'. '.join(one.short for one in self.sets)}."

    def galleries(self) -> list[Gallery]:
        """Return the worst mistakes where the gallery is kept."""
        return mistake_galleries(mistake for one in self.sets for mistake in one.mistakes)

    def rows(self) -> list[Row]:
        """Return one row per set and combination."""
        return [{"set": one.name} | _row(case) for one in self.sets for case in one.cases]

    def lines(self) -> list[str]:
        """Return how intervals were obtained, and the closing sentence of each set."""
        return [METHOD, *(one.sentence() for one in self.sets)]

    def facts(self) -> list[dict[str, Any]]:
        """Return the numbers of each set."""
        return [
            {
                "set": one.name,
                "loss": one.loss,
                "loss_interval": [one.loss_interval.low, one.loss_interval.high],
                "cases": [
                    {
                        **vars(case.models),
                        **verification_facts(case.verified),
                        "interval": [case.interval.low, case.interval.high],
                        "accuracy_at_kept_threshold": case.kept_accuracy,
                    }
                    for case in one.cases
                ],
            }
            for one in self.sets
        ]


def _row(case: Case) -> dict[str, str]:
    row = {
        "enrolment": case.models.title,
        "accuracy": f"{100 * case.verified.accuracy:.2f} %",
        "95 %": case.interval.points(),
        "at kept threshold": f"{100 * case.kept_accuracy:.2f} %",
    }
    tars = [f"{100 * tar:.2f} @FAR={far:g}" for far, tar in case.verified.tar_at_far.items() if tar is not None]
    return row | ({"TAR": tars[-1]} if tars else {})


@dataclass(frozen=True, eq=False)
class MixedEnrolment(SectionedResult):
    """Two models alone and mixed, on verification sets and on people.

    Args:
        people: identification, None where no people were given.
        left_out: pictures that could not be read, with the reason.
    """

    sets: MixedSets
    people: Searched | None
    left_out: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """What keeping the gallery costs."""
        return self.sets.verdict

    def galleries(self) -> list[Gallery]:
        """Return those of the sets."""
        return self.sets.galleries()

    def facts(self) -> dict[str, Any]:
        """Return the numbers of sets and people."""
        return {"sets": self.sets.facts(), "people": self.people.facts() if self.people else None}

    def sections(self) -> list[Section]:
        """Return the table of the sets, and that of the people."""
        found = [Section("Mixed enrolment", self.sets.rows(), notes=self.sets.lines())]
        if self.people is not None:
            said = [*self.people.lines(), *(f"left out: {line}" for line in self.left_out)]
            found.append(Section("People", self.people.rows(), notes=said))
        return found


def mixed_sets(
    teacher: tuple[str, Embed], student: tuple[str, Embed], places: Sequence[Path], execution: Execution
) -> MixedSets:
    """Measure two models alone and mixed on verification sets.

    The first image of a pair is the enrolled one, the second the probe.
    """
    results = []
    for name, variant, pairs in varied_sets(places, parse_variants(())):
        rows = {
            who: embed_pairs(embed, pairs, variant, execution, f"{name}, {who}")[0] for who, embed in (teacher, student)
        }
        results.append(mixed_set(name, pairs, (teacher[0], rows[teacher[0]]), (student[0], rows[student[0]])))
    return MixedSets(results)


def mixed_set(
    name: str, pairs: VerificationSet, teacher: tuple[str, np.ndarray], student: tuple[str, np.ndarray]
) -> MixedSet:
    """Measure two models alone and mixed, from names and embeddings (2P, D)."""
    old, new = (Embedded(who, rows[0::2], rows[1::2]) for who, rows in (teacher, student))
    require_one_space(old, new)
    resamples = Resamples.of(pairs)
    deployed = judge(mixed_distances(old.gallery, old.probe), pairs.same, name).thresholds

    def measure(enrolled: Embedded, asking: Embedded) -> Case:
        verified = judge(mixed_distances(enrolled.gallery, asking.probe), pairs.same, name)
        interval = interval_of(resamples.mean(verified.right, verified.weights))
        models = Combination(enrolled.name, asking.name)
        return Case(models, verified, verified.right_at(deployed), interval)

    cases = Combinations.of(old, new, measure)
    again, kept = cases.student_alone.verified, cases.kept.verified
    lost = resamples.mean(again.right.astype(float) - kept.right, again.weights)
    wrong = nearest_mistakes(name, kept, pairs.images)
    return MixedSet(name, cases, again.accuracy - kept.accuracy, interval_of(lost), wrong)
