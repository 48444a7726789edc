"""The table of a comparison: gains, spreads, order."""

from statistics import mean

import pytest

from insightface_cakd.experiments.table import ALONE, TEACHER, Run, rank, remarks, table

RESULTS = {
    ALONE: [Run(0.70, 0.1), Run(0.80, 0.1)],
    "weak": [Run(0.71, 0.2), Run(0.80, 0.4)],
    "strong": [Run(0.80, 0.2), Run(0.84, 0.2)],
    TEACHER: [Run(0.60, 0.3), Run(0.60, 0.3)],
}


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n")]


def test_gains_are_over_the_student_alone_of_the_same_seed_and_sort_the_table():
    rows = rank(RESULTS)
    assert [row.name for row in rows] == [TEACHER, "strong", "weak", ALONE]
    assert rows[1].gains == pytest.approx((0.10, 0.04))
    lines = cells(table(rows, (1, 2)))
    assert lines[0] == ["method", "1", "2", "mean (std)", "gain (std)", "s/step"]
    assert lines[3] == ["strong", "80.00", "84.00", "82.00 (2.83)", "**+7.00** (4.24)", "0.200"]
    assert lines[5] == ["alone", "70.00", "80.00", "75.00 (7.07)", "", "0.100"]


def test_one_seed_has_no_spread():
    one = {name: runs[:1] for name, runs in RESULTS.items()}
    assert ["strong", "80.00", "80.00", "**+10.00**", "0.200"] in cells(table(rank(one), (1,)))
    assert mean(row.gains[0] for row in rank(one)) == pytest.approx((0.10 + 0.01 - 0.10) / 4)


def test_a_recipe_below_the_student_alone_is_remarked_with_its_teacher():
    worse = {**RESULTS, "weak": [Run(0.69, 0.2), Run(0.78, 0.4)]}
    (line,) = remarks(rank(worse))
    assert line.startswith(
        "weak: -1.50 points against the student alone; the teacher (60.00 %) is below the student alone (75.00 %)"
    )
    del worse[TEACHER]
    worse["weak"] = [Run(0.69, 0.2, teacher=0.9), Run(0.78, 0.4, teacher=0.92)]
    assert "though its teacher (91.00 %) is above it (75.00 %)" in remarks(rank(worse))[0]
    assert remarks(rank(RESULTS)) == []
