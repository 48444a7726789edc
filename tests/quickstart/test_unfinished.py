"""A quickstart that failed goes on when it is started again; it is never refused because of itself."""

from contextlib import suppress

import pytest

from insightface_cakd.errors import RunError
from insightface_cakd.quickstart.unfinished import going_on

ASKED = {"--data": "/faces", "--seed": 7}


def fail_in(folder):
    with suppress(ValueError), going_on(folder, ASKED):
        (folder / "data").mkdir()
        raise ValueError


def test_what_failed_goes_on_with_what_is_there(tmp_path):
    folder = tmp_path / "out"
    fail_in(folder)
    with going_on(folder, ASKED) as goes_on:
        assert goes_on
        assert (folder / "data").is_dir()


def test_what_failed_before_anything_was_made_leaves_nothing(tmp_path):
    with suppress(ValueError), going_on(tmp_path / "out", ASKED):
        raise ValueError
    assert list((tmp_path / "out").iterdir()) == []


def test_what_ended_is_another_folder_with_something_in_it(tmp_path):
    folder = tmp_path / "out"
    with going_on(folder, ASKED) as goes_on:
        assert not goes_on
        (folder / "report.html").write_text("done")
    assert {path.name for path in folder.iterdir()} == {"report.html"}
    with pytest.raises(RunError, match="out: exists already; expected a new or empty folder"), going_on(folder, ASKED):
        pass


def test_something_else_does_not_go_on_in_it(tmp_path):
    folder = tmp_path / "out"
    fail_in(folder)
    other = going_on(folder, {**ASKED, "--seed": 8})
    with pytest.raises(RunError, match=r"unfinished quickstart of something else \(--seed 7\)"), other:
        pass
    assert (folder / "data").is_dir()
