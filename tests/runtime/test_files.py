"""What goes wrong with a user's file is one line of the caller's kind, and what was there stays."""

import pytest

from insightface_cakd.errors import DataError, ExportError, RunError
from insightface_cakd.runtime.atomic import require_new, write_json, write_text, writing
from insightface_cakd.runtime.reading import parse_json, read_text, reading


def test_a_text_is_written_whole_into_a_folder_that_is_made(tmp_path):
    write_text(tmp_path / "new" / "a.md", "né\n", RunError)
    assert read_text(tmp_path / "new" / "a.md", RunError, "a text.") == "né\n"
    write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "a.json").read_text() == '{\n "a": 1\n}'


@pytest.mark.parametrize("kind", [DataError, ExportError])
def test_a_place_that_cannot_be_written(kind, tmp_path):
    (tmp_path / "file").write_text("mine")
    said = (
        r"^report .*file/a\.md: cannot be written \(.+\); nothing was left behind, and .* untouched\. Free some space"
    )
    with pytest.raises(kind, match=said):
        write_text(tmp_path / "file" / "a.md", "text", kind, f"report {tmp_path / 'file' / 'a.md'}")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_error_of_ours_passes_a_writer_and_a_reader_and_leaves_nothing(tmp_path):
    def stop_half_way():
        with writing(tmp_path / "out", RunError) as temporary:
            temporary.write_text("half")
            raise DataError("mine")

    with pytest.raises(DataError, match="^mine$"):
        stop_half_way()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="^mine$"), reading("a", RunError, "b.", Exception):
        raise DataError("mine")


def test_a_file_that_is_missing_damaged_or_no_text(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: cannot be read \(No such file or directory\); expected lines\."):
        read_text(tmp_path / "none.txt", DataError, "lines.")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"bytes: cannot be read \(UnicodeDecodeError: .*\); expected lines\."):
        read_text(tmp_path / "bytes", DataError, "lines.")
    said = r"^x: cannot be read \(ValueError: two lines\); expected a number\.$"
    with pytest.raises(RunError, match=said), reading("x", RunError, "a number.", ValueError):
        raise ValueError("two\nlines")
    with pytest.raises(KeyError), reading("x", RunError, "a number.", ValueError):
        raise KeyError("a mistake of ours")


@pytest.mark.parametrize("text", ["", "[1", "[" * 100_000, "1" * 5000, '{"a": }'])
def test_json_that_is_none_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    assert parse_json('{"a": [1]}') == {"a": [1]}


def test_only_a_new_or_empty_folder_is_new(tmp_path):
    require_new(tmp_path / "new", RunError)
    require_new(tmp_path, RunError)
    (tmp_path / "file").write_text("")
    for used in (tmp_path, tmp_path / "file"):
        with pytest.raises(ExportError, match="exists already; expected a new or empty folder"):
            require_new(used, ExportError)
