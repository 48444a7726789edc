"""Tables as text: Markdown that is aligned, plain columns, cells that stay in their column."""

from insightface_cakd.report.tables import markdown_table, plain_table
from tests.report.test_run_report import ROWS


def test_markdown_is_aligned():
    assert markdown_table(ROWS).splitlines() == [
        "| model                  |     accuracy | seconds |",
        "|------------------------|-------------:|--------:|",
        "| teacher                |      91.00 % |     120 |",
        "| student alone          |      80.17 % |      31 |",
        "| student + distillation |      83.00 % |      40 |",
        "| difference             | +2.83 points |         |",
    ]


def test_a_cell_stays_in_its_column():
    assert markdown_table([{"a": "x|y\nz", "b": ""}]).splitlines()[2] == r"| x\|y z |   |"


def test_plain_columns_have_no_marks_and_no_blanks_at_the_end():
    assert plain_table(ROWS[2:]).splitlines() == [
        "model                       accuracy  seconds",
        "student + distillation       83.00 %       40",
        "difference              +2.83 points",
    ]


def test_no_rows_give_no_text():
    assert markdown_table([]) == plain_table([]) == ""
