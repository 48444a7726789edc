"""`python -m benchmarks curve`: one picture and one table of runs of several lengths."""

import json

import pytest

from benchmarks.curve import curve_table, draw_curves, read_points
from insightface_cakd.errors import EvaluationError
from tests.commands import benchmark


def write(folder, line, place, seed, **accuracy):
    run = folder / line / place / seed
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps({"accuracy": accuracy}))


@pytest.fixture
def runs(tmp_path):
    for place, value in (("1000", 0.8), ("3000", 0.9)):
        for number, seed in enumerate(("1", "2")):
            write(tmp_path / "runs", "alone", place, seed, dev=value + number / 50, all=value)
    write(tmp_path / "runs", "taught", "3000", "1", dev=0.95, all=0.94)
    return tmp_path / "runs"


def test_a_row_is_a_place_and_a_cell_the_mean_with_the_number_of_seeds(runs):
    rows = curve_table(read_points(runs, "accuracy/dev"), "steps").splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (rows[0], *rows[2:])]
    assert cells == [["steps", "alone", "taught"], ["1000", "81.00 (2)", ""], ["3000", "91.00 (2)", "95.00 (1)"]]


def test_the_picture_has_a_panel_for_each_fact_and_is_the_same_each_time(runs, tmp_path):
    facts = {name: read_points(runs, f"accuracy/{name}") for name in ("dev", "all")}
    picture = draw_curves(facts, "steps", 0.99)
    assert picture == draw_curves(facts, "steps", 0.99)
    for said in (">dev<", ">all<", ">alone<", ">taught<", ">teacher<", ">steps<"):
        assert said in picture


def test_the_command_writes_the_picture_and_prints_the_means(runs, tmp_path):
    ran = benchmark(
        "curve", runs, tmp_path / "curve.svg", "--fact", "accuracy/dev", "--fact", "accuracy/all", "--teacher", "0.99"
    )
    assert ran.code == 0, ran.err
    assert (tmp_path / "curve.svg").read_text().startswith("<svg")
    assert ran.out.index("dev:") < ran.out.index("91.00 (2)") < ran.out.index("all:")


def test_what_is_no_curve_is_refused(runs, tmp_path):
    with pytest.raises(EvaluationError, match="has no LINE/X/SEED/result.json"):
        read_points(tmp_path / "runs" / "alone", "accuracy/dev")
    write(runs, "alone", "many", "1", dev=0.5)
    with pytest.raises(EvaluationError, match="many is not a number"):
        read_points(runs, "accuracy/dev")
