"""Forward of teachers: as they are, in half precision, compiled."""

import pytest

from benchmarks.teachers import Forward, table, teacher_forwards


@pytest.mark.slow
def test_each_network_has_three_times_and_that_of_compiling():
    (found,) = teacher_forwards(["cnn_tiny"], batch=2, repeats=1)
    assert found.network == "cnn_tiny"
    assert min(found.full, found.half, found.compiled) > 0
    assert found.start > 10 * found.compiled / 1000


def test_a_table_has_a_line_each():
    said = table(iter([Forward("r50", 12.34, 6.0, 3.0, 41.2)])).splitlines()
    assert [cell.strip() for cell in said[2].strip("|").split("|")] == ["`r50`", "12.34", "6.00", "3.00", "41 s"]
