"""A long job: what is kept, what is gone on with, and what is refused."""

import errno

import numpy as np
import pytest

from insightface_cakd.errors import DataError, RunError
from insightface_cakd.runtime import long_job as module
from insightface_cakd.runtime.long_job import Phase, long_job

ORIGIN = {"data": "a" * 8, "size": 3}
BLOCKS = 5
SQUARES = Phase("square", BLOCKS, 1)


def squares(target, origin=ORIGIN, stop=None, made=None):
    """Write the squares of 0 to 4, a number a block; stop before one of them with an exception."""
    with long_job(target, origin, DataError) as job:
        for number in job.mine(SQUARES):
            if stop is not None and number == stop[0]:
                raise stop[1]
            if made is not None:
                made.append(number)
            job.save(SQUARES, number, {"square": np.array([number**2])})
        found = np.concatenate([block["square"] for block in job.blocks(SQUARES)])
        np.save(target, found)
    return np.load(target)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "squares.npy"


def test_a_job_that_ends_well_leaves_its_result_alone(target):
    assert squares(target).tolist() == [0, 1, 4, 9, 16]
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunError("a worker was killed"), MemoryError()])
@pytest.mark.parametrize("number", range(1, BLOCKS))
def test_a_stopped_job_goes_on_with_the_blocks_that_are_missing(target, number, error):
    with pytest.raises(type(error)):
        squares(target, stop=(number, error))
    made = []
    assert squares(target, made=made).tolist() == [0, 1, 4, 9, 16]
    assert made == list(range(number, BLOCKS))
    assert list(target.parent.iterdir()) == [target]


def test_a_job_stopped_before_its_first_block_leaves_nothing(target):
    with pytest.raises(KeyboardInterrupt):
        squares(target, stop=(0, KeyboardInterrupt()))
    assert not list(target.parent.iterdir())


def test_what_is_refused_leaves_nothing_since_it_would_be_refused_again(target):
    with pytest.raises(DataError, match="damaged"):
        squares(target, stop=(3, DataError("record 7: damaged")))
    assert not list(target.parent.iterdir())


def test_a_job_that_names_no_origin_keeps_nothing(target):
    with pytest.raises(KeyboardInterrupt):
        squares(target, origin=None, stop=(3, KeyboardInterrupt()))
    assert not list(target.parent.iterdir())


def test_a_stopped_job_of_another_origin_is_refused_and_kept(target):
    with pytest.raises(KeyboardInterrupt):
        squares(target, stop=(3, KeyboardInterrupt()))
    with pytest.raises(
        DataError, match=r"partial: holds a stopped job whose size is 3; expected 4\. Run that one to its end"
    ):
        squares(target, origin={**ORIGIN, "size": 4})
    made = []
    squares(target, made=made)
    assert made == [3, 4]


def test_a_full_disk_keeps_what_was_finished(target, monkeypatch):
    save, calls = module.np.savez, []

    def fills_up(file, **block):
        calls.append(file)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, **block)

    monkeypatch.setattr(module.np, "savez", fills_up)
    with pytest.raises(DataError, match=r"No space left on device.*The finished blocks are kept"):
        squares(target)
    made = []
    squares(target, made=made)
    assert made == [2, 3, 4]


def test_a_damaged_block_is_named(target):
    with pytest.raises(KeyboardInterrupt):
        squares(target, stop=(4, KeyboardInterrupt()))
    block = target.with_name("squares.npy.partial") / "square-0000002.npz"
    block.write_bytes(block.read_bytes()[:-30])
    with pytest.raises(RunError, match=r"square-0000002\.npz: cannot be read; expected a finished block\. Remove it"):
        squares(target)
    block.unlink()
    assert squares(target).tolist() == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_damaged_origin_is_refused(target, text):
    with pytest.raises(KeyboardInterrupt):
        squares(target, stop=(4, KeyboardInterrupt()))
    (target.with_name("squares.npy.partial") / "origin.json").write_text(text)
    with pytest.raises(DataError, match=r"squares\.npy\.partial: "):
        squares(target)


@pytest.mark.parametrize("origin", [ORIGIN, None])
def test_a_folder_that_no_job_has_begun_is_left_alone(target, origin):
    mine = target.with_name("squares.npy.partial") / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(DataError, match=r"is in the way of a job, and holds no origin\.json; expected a stopped job"):
        squares(target, origin=origin)
    assert mine.read_text() == "mine"
