"""The result of a liveness test: its verdict, and a DET plot where there are faces enough."""

import numpy as np

from insightface_cakd.evaluate.liveness.result import LivenessResult, Scored

LIVE = np.arange(40) % 2
# Every live face above every spoof.
SURE = Scored(np.where(LIVE == 1, 0.7, 0.2) + np.arange(40) / 1000, LIVE)
# The same with the kinds changed.
WRONG = Scored(SURE.scores, 1 - LIVE)
FEW = Scored(SURE.scores[:10], LIVE[:10])


def test_the_verdict_names_the_domains_that_are_guessed():
    assert LivenessResult(SURE, {"c": SURE}, "a").verdict == "HTER on domains that gave no threshold: c 0.0 %."
    said = LivenessResult(SURE, {"c": SURE, "d": WRONG}, "a").verdict
    assert said == "HTER on domains that gave no threshold: c 0.0 %, d 100.0 %; no better than guessing: d."


def test_a_domain_of_few_faces_has_no_curve():
    (drawing,) = LivenessResult(SURE, {"c": SURE, "d": FEW}, "a").drawings()
    assert drawing.alt == "c at its threshold: APCER 0.000, BPCER 0.000."
    assert LivenessResult(SURE, {"d": FEW}, "a").drawings() == []
