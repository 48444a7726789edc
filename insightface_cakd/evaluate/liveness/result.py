"""Error rates of a model on domains that it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from insightface_cakd.evaluate.liveness.metrics import (
    Rates,
    area_under_curve,
    averaged_by_video,
    equal_error,
    error_curve,
    rates_at,
)
from insightface_cakd.report.colours import Colours
from insightface_cakd.report.plots import ENOUGH, dress, one_plot
from insightface_cakd.report.result import Drawing, Result

# HTER of who looks at no image.
GUESSING = 0.5


@dataclass(frozen=True)
class Scored:
    """Scores of one set, a video each.

    Args:
        scores: (N,), higher is more live.
        live: (N,), 1 live, 0 spoof.
    """

    scores: np.ndarray
    live: np.ndarray

    @classmethod
    def by_video(cls, scores: np.ndarray, live: np.ndarray, videos: np.ndarray) -> "Scored":
        """Return the mean score of each video."""
        return cls(*averaged_by_video(scores, live, videos))


@dataclass(frozen=True)
class LivenessResult(Result):
    """Error rates of a model on test domains.

    Args:
        development: gives the threshold, that of its equal error rate.
        tests: by domain.
        source: which domains the development scores are of.
    """

    development: Scored
    tests: Mapping[str, Scored]
    source: str

    @property
    def verdict(self) -> str:
        """HTER of each test domain, beside that of guessing."""
        rates = self.rates()
        said = ", ".join(f"{name} {100 * one.acer:.1f} %" for name, one in rates.items())
        guessed = [name for name, one in rates.items() if one.acer >= GUESSING]
        more = f"; no better than guessing: {', '.join(guessed)}" if guessed else ""
        return f"HTER on domains that gave no threshold: {said}{more}."

    @property
    def threshold(self) -> float:
        """The threshold of the development scores' equal error rate."""
        return equal_error(self.development.scores, self.development.live)[1]

    def rates(self) -> dict[str, Rates]:
        """Return the rates of each test domain at the threshold."""
        threshold = self.threshold
        return {name: rates_at(one.scores, one.live, threshold) for name, one in self.tests.items()}

    def rows(self) -> Sequence[dict[str, str]]:
        """Return a line for each test domain."""
        return [
            {
                "domain": name,
                "AUC": f"{area_under_curve(one.scores, one.live):.3f}",
                "EER": f"{equal_error(one.scores, one.live)[0]:.3f}",
                "APCER": f"{rates.apcer:.3f}",
                "BPCER": f"{rates.bpcer:.3f}",
                "ACER = HTER": f"{rates.acer:.3f}",
                "faces": str(len(one.live)),
            }
            for (name, one), rates in zip(self.tests.items(), self.rates().values(), strict=True)
        ]

    def lines(self) -> Sequence[str]:
        """Return where the threshold is from."""
        rate, threshold = equal_error(self.development.scores, self.development.live)
        return [
            f"Score: probability of live. APCER, BPCER and ACER at {threshold:.6g}, the threshold of the equal error rate ({rate:.3f}) on "
            f"{self.source}, never on a test domain; so ACER is HTER. EER: at the test domain's own threshold, for reference only.",
        ]

    def facts(self) -> dict[str, float]:
        """Return every number by its name."""
        found = {"threshold": self.threshold}
        for name, rates in self.rates().items():
            one = self.tests[name]
            end = f"/{name}" if len(self.tests) > 1 else ""
            found |= {
                f"auc{end}": area_under_curve(one.scores, one.live),
                f"eer{end}": equal_error(one.scores, one.live)[0],
                f"apcer{end}": rates.apcer,
                f"bpcer{end}": rates.bpcer,
                f"hter{end}": rates.acer,
                f"faces{end}": float(len(one.live)),
            }
        return found

    def drawings(self) -> Sequence[Drawing]:
        """Return the DET plot."""
        return det_drawings(self.tests, dict.fromkeys(self.tests, self.threshold))


def det_drawings(scored: Mapping[str, Scored], thresholds: Mapping[str, float]) -> list[Drawing]:
    """Return the DET plot, of no line with too few points.

    Args:
        scored: title of the line, a domain or a model -> scores.
        thresholds: title -> the threshold, marked by a dot.
    """
    curves = {name: error_curve(one.scores, one.live) for name, one in scored.items()}
    long = {name: curve for name, curve in curves.items() if len(curve[0]) >= ENOUGH}
    if not long:
        return []
    dots = {name: rates_at(scored[name].scores, scored[name].live, thresholds[name]) for name in long}
    said = [f"{name} at its threshold: APCER {one.apcer:.3f}, BPCER {one.bpcer:.3f}" for name, one in dots.items()]

    def draw(colours: Colours) -> Figure:
        figure, axes = one_plot()
        for name, (_, apcer, bpcer) in long.items():
            axes.plot(apcer, bpcer, label=name, color=colours.of(name), linewidth=1.5)
            axes.plot([dots[name].apcer], [dots[name].bpcer], "o", color=colours.of(name))
        axes.set(xlabel="APCER", ylabel="BPCER", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return dress(figure, axes)

    return [Drawing("DET", "BPCER over APCER; lower left is better. Dot: the threshold.", draw, f"{'; '.join(said)}.")]
