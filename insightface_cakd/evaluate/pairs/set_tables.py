"""The numbers of verification sets as table rows, sentences and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from insightface_cakd.evaluate.pairs.bootstrap import METHOD, Interval
from insightface_cakd.evaluate.pairs.mistakes import mistake_galleries
from insightface_cakd.evaluate.pairs.sets import FACE_BN_BATCH, SetResult, titled
from insightface_cakd.evaluate.pairs.variants import PLAIN
from insightface_cakd.evaluate.pairs.verification import FARS, VerificationResult
from insightface_cakd.report.result import Gallery, Result
from insightface_cakd.report.tables import Row

FACE_BN = (
    f"FaceBN (AIRD-style): batch norms mix in, by the share given, the statistics of {FACE_BN_BATCH} faces of the test at a time, in one "
    "fixed random order; weights stay. The result depends on the other faces of the test."
)


@dataclass(frozen=True, eq=False)
class SetResults(Result):
    """A model's numbers, one result per set and variant."""

    sets: Sequence[SetResult]

    @property
    def verdict(self) -> str:
        """Which share of the pairs is judged right, set by set."""
        return said_accuracies([(titled(one.name, one.variant), one.verified, one.interval) for one in self.sets])

    def rows(self) -> list[Row]:
        """Return one row per result, with each FAR that any set supports."""
        tars = tar_cells([(result.verified, result.tar_intervals) for result in self.sets])
        with_variants = any(result.variant != PLAIN for result in self.sets)
        rows: list[Row] = []
        for one, cells in zip(self.sets, tars, strict=True):
            verified = one.verified
            row = {"set": one.name, **({"variant": one.variant} if with_variants else {})}
            row |= {"pairs": str(len(verified.same)), "accuracy": f"{100 * verified.accuracy:.2f} %"}
            row |= {"95 %": one.interval.points(), "fold std": f"{100 * verified.std:.2f}", "XNorm": f"{one.xnorm:.2f}"}
            rows.append(row | cells)
        return rows

    def lines(self) -> list[str]:
        """Return which FARs sets do not support, and how intervals were obtained."""
        lines = [*unsupported_lines([(one.name, one.verified) for one in self.sets]), METHOD]
        return [*lines, FACE_BN] if any(one.face_bn for one in self.sets) else lines

    def galleries(self) -> list[Gallery]:
        """Return the worst mistakes, of each set's first variant."""
        return mistake_galleries(mistake for one in self.sets for mistake in one.mistakes)

    def facts(self) -> list[dict[str, Any]]:
        """Return the numbers of each set."""
        return [
            {
                "set": one.name,
                "variant": one.variant,
                **({"face_bn": one.face_bn} if one.face_bn else {}),
                "xnorm": one.xnorm,
                **verification_facts(one.verified),
                "interval": [one.interval.low, one.interval.high],
                "tar_intervals": {f"{far:g}": [ends.low, ends.high] for far, ends in one.tar_intervals.items()},
            }
            for one in self.sets
        ]


def said_accuracies(sets: Sequence[tuple[str, VerificationResult, Interval]]) -> str:
    """Return a sentence about the accuracies on some sets.

    It says where one is not better than chance: half of the pairs, if as many are same as different.

    Args:
        sets: name, judgement and interval of the accuracy of each.
    """
    said = [(100 * verified.accuracy, name) for name, verified, _ in sets]
    if len(said) == 1:
        ((accuracy, name),), (_, verified, interval) = said, sets[0]
        sentence = f"{name}: {accuracy:.2f} % {interval.points()} of {len(verified.same)} pairs are judged right"
    else:
        (most, best), (least, worst) = max(said), min(said)
        sentence = f"Of the pairs, {most:.2f} % ({best}) to {least:.2f} % ({worst}) are judged right"
    by_chance = [
        name for name, verified, interval in sets if interval.low <= max(verified.same.mean(), 1 - verified.same.mean())
    ]
    return f"{sentence}; not surely better than chance: {'; '.join(by_chance)}." if by_chance else f"{sentence}."


def tar_cells(results: Sequence[tuple[VerificationResult, Mapping[float, Interval]]]) -> list[dict[str, str]]:
    """Return TAR in percent with its interval, by supported FAR."""
    supported = [far for far in FARS if any(verified.tar_at_far[far] is not None for verified, _ in results)]
    return [
        {f"TAR@FAR={far:g}": _shown_tar(verified.tar_at_far[far], intervals.get(far)) for far in supported}
        for verified, intervals in results
    ]


def _shown_tar(tar: float | None, interval: Interval | None) -> str:
    return "-" if tar is None or interval is None else f"{100 * tar:.2f} {interval.points()}"


def unsupported_lines(sets: Sequence[tuple[str, VerificationResult]]) -> list[str]:
    """Return one sentence per set that does not support all FARs.

    Of several sets with one name, the first counts.
    """
    lines = []
    for name, verified in dict(reversed(sets)).items():
        missing = [f"{far:g}" for far, tar in verified.tar_at_far.items() if tar is None]
        different = int((~verified.same).sum())
        if missing:
            lines.append(
                f"{name}: not measured at FAR={', '.join(missing)}: {different} impostor pairs support no FAR below "
                f"{1 / different:.2g}."
            )
    return lines[::-1]


def verification_facts(verified: VerificationResult) -> dict[str, Any]:
    """Return the numbers of judged pairs as values that JSON can represent."""
    return {
        "same": int(verified.same.sum()),
        "different": int((~verified.same).sum()),
        "accuracy": verified.accuracy,
        "std": verified.std,
        "folds": verified.accuracies.tolist(),
        "thresholds": verified.thresholds.tolist(),
        "tar_at_far": {f"{far:g}": tar for far, tar in verified.tar_at_far.items()},
    }
