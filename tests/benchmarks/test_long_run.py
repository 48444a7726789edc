"""The table of a long run, and a short one through the command."""

import pytest

from benchmarks.long_run import MIB, Sample, quarters
from tests.commands import benchmark


def cells(table):
    """Return the rows of a Markdown table below its head."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    return rows[2:]


def test_each_quarter_has_its_median_and_its_largest():
    samples = [Sample(step, (100 + step) * MIB, 10 + step // 4) for step in range(1, 9)]
    rows = cells(quarters(samples))
    assert rows[0] == ["1 to 2", "102 MiB", "102 MiB", "10", "10"]
    assert rows[-1] == ["7 to 8", "108 MiB", "108 MiB", "12", "12"]


@pytest.mark.slow
def test_a_run_holds_as_many_files_in_the_end_as_before(tmp_path):
    ran = benchmark("long", tmp_path / "run", "--steps", 200, "--recipe", "cosine")
    assert ran.code == 0, ran.err
    files = [int(row[-1]) for row in cells(ran.out)]
    assert files[-1] <= max(files[:2]) + 2
