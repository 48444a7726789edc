"""Tables are read piece by piece: neither pieces nor threads change anything."""

import numpy as np
import pytest

from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.ijb import tables
from insightface_cakd.evaluate.ijb.tables import read_integers, read_rows


@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("workers", [1, 3])
def test_pieces_and_threads_do_not_matter(tmp_path, monkeypatch, piece, workers):
    monkeypatch.setattr(tables, "PIECE", piece)
    random = np.random.default_rng(0)
    table = random.integers(0, 10 ** random.integers(1, 10, (300, 1)), (300, 3))
    blanks = [" ", "\t", "  "]
    lines = [blanks[row % 3].join(map(str, some)) + "\n" * (1 + row % 2) for row, some in enumerate(table.tolist())]
    path = tmp_path / "table.txt"
    path.write_text("".join(lines).rstrip("\n"))
    columns = read_integers(path, 3, "three numbers", workers)
    assert [column.dtype for column in columns] == [np.int32] * 3
    assert np.array_equal(np.stack(columns, axis=1), table)
    names = [f"{'n' * (row % 5)}{row}.jpg" for row in range(300)]
    path.write_text("".join(f"{name} {line}" for name, line in zip(names, lines, strict=True)))
    found, numbers = read_rows(path, 3, "a name and three numbers", "float", workers)
    assert found == names
    assert np.array_equal(numbers.T, table)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 1", "2 words; expected 3"),
        ("a 1 2 3", "4 words; expected 3"),
        ("a 1 x", "'1 x'; expected"),
        ("a 1 1_0", "'1 1_0'; expected"),
        ("a 1 0x2", "'1 0x2'; expected"),
    ],
)
def test_the_wrong_line_of_many_pieces_is_named(tmp_path, monkeypatch, line, message):
    monkeypatch.setattr(tables, "PIECE", 64)
    path = tmp_path / "rows.txt"
    path.write_text("a 1 2\n" * 500 + line + "\n" + "a 1 2\n" * 500)
    for kind in ("int", "float"):
        with pytest.raises(DataError, match=f"rows.txt, line 501: {message}"):
            read_rows(path, 2, "a name and two numbers", kind)


@pytest.mark.parametrize(
    "text", ["1 2 3\r4 5 6\r", "1 2\u00a03\n", "1\u20282\u20283\n", "\ufeff1 2 3\n", "1 2 \u0663\n"]
)
def test_only_newlines_and_ascii_blanks_and_digits_count(tmp_path, text):
    path = tmp_path / "table.txt"
    path.write_bytes(text.encode())
    with pytest.raises(DataError, match="table.txt, line 1: "):
        read_integers(path, 3, "three numbers")


def test_names_that_are_no_utf8_are_told(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(b"a 1\n\xff 1\n")
    with pytest.raises(DataError, match="rows.txt: cannot be read .UnicodeDecodeError"):
        read_rows(path, 1, "a name and a number", "int")
