"""Tables of whole numbers: read as numpy would, and no line that is something else."""

import numpy as np
import pytest

from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.ijb.tables import read_integers


def read(tmp_path, text: bytes, columns: int = 3) -> np.ndarray:
    path = tmp_path / "table.txt"
    path.write_bytes(text)
    return np.stack(read_integers(path, columns, "three numbers"), axis=1)


def test_numbers_of_all_lengths_come_back(tmp_path):
    table = np.random.default_rng(0).integers(0, 10 ** np.arange(1, 10)[:, None], (200, 9, 3)).reshape(-1, 3)
    text = "".join(" ".join(map(str, row)) + "\n" for row in table.tolist()).encode()
    assert np.array_equal(read(tmp_path, text), table)


@pytest.mark.parametrize("text", [b"1 2 3\n4 5 6", b"1\t2  3 \r\n\r\n 4 5 6\r\n\n"])
def test_blanks_empty_lines_and_a_last_line_without_end_are_fine(tmp_path, text):
    assert read(tmp_path, text).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1 2 3\n4 5\n", r"line 2: '4 5'; expected three numbers"),
        (b"1 2 3\n4 5\n6 7 8 9\n", r"line 2: '4 5'"),
        (b"1 2 3 4\n5 6\n", r"line 1: '1 2 3 4'"),
        (b"1 2 3\n\n4 -5 6\n", r"line 3: '4 -5 6'"),
        (b"1 2 3\n4 5.0 6\n", r"line 2: '4 5.0 6'"),
        (b"1 2 3\n4 5 x\xff\n", r"line 2"),
        (b"1 2 1234567890\n", r"at most 9 digits"),
        (b"\n\n", r"holds no line"),
        (b"", r"holds no line"),
    ],
)
def test_any_other_line_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_the_line_number_counts_earlier_lines(tmp_path):
    with pytest.raises(DataError, match="line 51: 'a b c'"):
        read(tmp_path, b"1 2 3\n" * 50 + b"a b c\n" + b"1 2 3\n" * 50)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"none.txt: cannot be read \(No such file"):
        read_integers(tmp_path / "none.txt", 3, "three numbers")
