"""`python -m benchmarks seeds`: means over seeds, and what it refuses."""

import json
import subprocess
import sys

import pytest

from benchmarks.seeds import seeds_table
from insightface_cakd.errors import EvaluationError


def write(folder, name, seed, content):
    (folder / name / seed).mkdir(parents=True)
    (folder / name / seed / "result.json").write_text(json.dumps(content))


def test_a_cell_is_mean_and_standard_deviation(tmp_path):
    for seed, value in (("1", 0.8), ("2", 0.9), ("3", 0.85)):
        write(tmp_path, "alone", seed, {"accuracy": {"dev": value}, "steps": 9})
    write(tmp_path, "taught", "1", {"accuracy": {"dev": 0.9}, "steps": 9})
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "seeds", tmp_path, "--fact", "accuracy/dev", "--scale", "100"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in ran.stdout.splitlines()]
    assert [rows[0], *rows[2:]] == [
        ["run", "seeds", "accuracy/dev"],
        ["alone", "3", "85.00 (5.00)"],
        ["taught", "1", "90.00"],
    ]
    assert "0.8500 (0.0500)" in seeds_table(tmp_path, "result.json", ["accuracy/dev"])


def test_levels_may_be_lists_and_keys_have_dots(tmp_path):
    write(tmp_path, "alone", "1", {"sets": [{"eer": 0.25}, {"failures_0.08": 0.5}]})
    table = seeds_table(tmp_path, "result.json", ["sets/0/eer", "sets/1/failures_0.08"])
    assert [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")] == ["alone", "1", "0.2500", "0.5000"]


@pytest.mark.parametrize("fact", ["accuracy", "accuracy/test", "steps/dev", "rates/2", "rates/dev"])
def test_what_is_no_number_is_refused(fact, tmp_path):
    write(tmp_path, "alone", "1", {"accuracy": {"dev": 0.8}, "steps": 9, "rates": [0.1]})
    with pytest.raises(EvaluationError, match=rf"1/result\.json: {fact} is .*; expected a number"):
        seeds_table(tmp_path, "result.json", [fact])


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"has no NAME/SEED/other\.json; expected the results of runs"):
        seeds_table(tmp_path, "other.json", ["accuracy/dev"])
