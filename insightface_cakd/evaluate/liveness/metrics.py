"""Error rates of ISO/IEC 30107-3 from scores of live and spoofed faces."""

from dataclasses import dataclass

import numpy as np

from insightface_cakd.errors import EvaluationError


@dataclass(frozen=True)
class Rates:
    """Error rates at a threshold.

    Args:
        apcer: share of attacks with score >= threshold, which are taken for live.
        bpcer: share of live faces with score < threshold, which are refused.
    """

    threshold: float
    apcer: float
    bpcer: float

    @property
    def acer(self) -> float:
        """(APCER + BPCER) / 2; HTER where the threshold is foreign."""
        return (self.apcer + self.bpcer) / 2


def rates_at(scores: np.ndarray, live: np.ndarray, threshold: float) -> Rates:
    """Return the error rates at a threshold.

    Args:
        scores: (N,), higher is more live.
        live: (N,), 1 live, 0 spoof.
        threshold: scores from it on are accepted as live.
    """
    live = _checked(scores, live)
    return Rates(threshold, float((scores[~live] >= threshold).mean()), float((scores[live] < threshold).mean()))


def equal_error(scores: np.ndarray, live: np.ndarray) -> tuple[float, float]:
    """Return the equal error rate and its threshold.

    The threshold is midway between neighbouring scores, or outside all, where |APCER - BPCER| is smallest; of several
    such the one with the smallest sum of errors, then the middle one. The rate is their mean there, since with few
    faces or equal scores they need not meet.
    """
    thresholds, apcer, bpcer = error_curve(scores, live)
    order = np.round(np.abs(apcer - bpcer), 12), np.round(apcer + bpcer, 12)
    best = np.flatnonzero(order[0] == order[0].min())
    best = best[order[1][best] == order[1][best].min()]
    chosen = best[len(best) // 2]
    return float((apcer[chosen] + bpcer[chosen]) / 2), float(thresholds[chosen])


def error_curve(scores: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rising thresholds, and APCER and BPCER at each: the DET curve."""
    live = _checked(scores, live)
    values = np.unique(scores.astype(np.float64))
    middles = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    attacks, faces = np.sort(scores[~live]), np.sort(scores[live])
    apcer = 1 - np.searchsorted(attacks, middles, side="left") / len(attacks)
    bpcer = np.searchsorted(faces, middles, side="left") / len(faces)
    return middles, apcer, bpcer


def area_under_curve(scores: np.ndarray, live: np.ndarray) -> float:
    """Return P(live score > spoof score) + P(equal) / 2."""
    live = _checked(scores, live)
    attacks = np.sort(scores[~live])
    below = np.searchsorted(attacks, scores[live], side="left")
    not_above = np.searchsorted(attacks, scores[live], side="right")
    return float((below + not_above).mean() / (2 * len(attacks)))


def averaged_by_video(scores: np.ndarray, live: np.ndarray, videos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean score of each video and its kind.

    Raises:
        EvaluationError: a video has frames of both kinds.
    """
    names, number = np.unique(videos, return_inverse=True)
    count = np.bincount(number)
    kinds = np.bincount(number, weights=live) / count
    mixed = np.flatnonzero((kinds > 0) & (kinds < 1))
    if len(mixed):
        raise EvaluationError(
            f"video {names[mixed[0]]} has live and spoof frames; expected one kind in a video. Correct the list."
        )
    return np.bincount(number, weights=scores) / count, kinds.astype(np.int64)


def _checked(scores: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Return which faces are live, after checking that the rates exist."""
    if scores.ndim != 1 or scores.shape != live.shape or not np.isfinite(scores).all():
        raise EvaluationError(
            f"liveness: scores {scores.shape}, kinds {live.shape}, {int((~np.isfinite(scores)).sum())} scores not finite; "
            "expected one finite score for each face. Check the model."
        )
    kinds = live.astype(bool)
    if kinds.all() or not kinds.any():
        raise EvaluationError(
            f"liveness: {int(kinds.sum())} live and {int((~kinds).sum())} spoof faces; expected both kinds. Add the other kind."
        )
    return kinds
