"""The first line of the result tells the truth about the teacher, and what to do."""

import pytest

from insightface_cakd.quickstart.verdict import Reached, verdict


@pytest.mark.parametrize(
    ("reached", "said", "advice"),
    [
        (Reached(0.522, 0.675, 0.525, 360, 1e-6, False), "no better than chance (52.20 % of 360 pairs)", "--teacher FILE.onnx"),
        (Reached(0.522, 0.675, 0.525, 360, 1e-6, True), "no better than chance (52.20 % of 360 pairs)", "`cakd doctor` tries both"),
        (Reached(0.65, 0.672, 0.7, 360, 0.01, False), "(65.00 %) is not better than the student alone (67.20 %)", "--teacher buffalo_l"),
        (Reached(0.997, 0.681, 0.664, 360, 0.6, True), "(66.40 %) is not clearly better: these 360 pairs", "Add images"),
        (Reached(0.997, 0.681, 0.6, 360, 0.001, True), "ends below it (60.00 %)", "Lower the weights"),
    ],
)  # fmt: skip
def test_a_teacher_that_did_not_help_is_told_with_what_to_do(reached, said, advice):
    line = verdict(reached)
    assert line.startswith("The teacher ")
    assert said in line
    assert advice in line
    assert "\n" not in line


def test_a_teacher_that_helped_is_told_without_advice():
    line = verdict(Reached(0.82, 0.754, 0.832, 2000, 1e-9, False))
    assert (
        line
        == "The teacher (82.00 %) is better than the student alone (75.40 %), and so is the student that it taught (83.20 %)."
    )


def test_chance_is_two_deviations_of_guesses_and_depends_on_the_number_of_pairs():
    # Of 400 pairs, guesses deviate by 0.5 / 20 = 2.5 points; of 10,000 by 0.5.
    for accuracy, pairs, at_chance in (
        (0.549, 400, True),
        (0.551, 400, False),
        (0.509, 10000, True),
        (0.511, 10000, False),
    ):
        assert ("chance" in verdict(Reached(accuracy, 0.4, 0.6, pairs, 0.01, True))) == at_chance
