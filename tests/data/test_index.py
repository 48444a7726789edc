"""`train.idx`: keys and offsets in the file's order, or an error that says which line is none."""

from pathlib import Path

import pytest

from insightface_cakd.data.framing import read_index
from insightface_cakd.errors import DataError


def test_keys_and_offsets_come_in_the_files_order(tmp_path: Path) -> None:
    (tmp_path / "train.idx").write_bytes(b"10\t0\r\n9\t4128\r\n3\t9007199254740993\r\n")
    keys, offsets = read_index(tmp_path / "train.idx")
    assert keys.tolist() == [10, 9, 3]
    assert offsets.tolist() == [0, 4128, 9007199254740993]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train\.idx: holds no records; expected a line"),
        ("1\t0\nfoo\t9\n", r"train\.idx: could not convert string 'foo' to int64 at row 1"),
        ("1\n2\n", r"train\.idx: 1 numbers a line; expected two"),
        ("1\t0\n2\n", r"train\.idx: .*number of columns changed"),
        ("1\t99999999999999999999999\n", r"train\.idx: could not convert"),
    ],
)
def test_an_index_that_is_none_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.idx").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_index(tmp_path / "train.idx")
    assert "\n" not in str(caught.value)
