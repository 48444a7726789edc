"""Pickles are read without running what they name."""

import pickle
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from insightface_cakd.data.bin_pickle import load_pickle
from insightface_cakd.errors import DataError


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bytes_numbers_and_arrays_are_read_from_every_protocol(protocol: int) -> None:
    images = [b"", b"\xff\x00abc", np.arange(250, dtype=np.uint8), np.arange(6, dtype=np.uint8).reshape(6, 1)]
    flags = [True, False, np.bool_(True), np.int64(1)]
    made = load_pickle(pickle.dumps((images, flags), protocol), "x")
    assert [bytes(image) for image in made[0]] == [bytes(image) for image in images]
    assert [bool(flag) for flag in made[1]] == [True, False, True, True]


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i4", ">i4", "<i8", ">u2", "<f4", ">f8"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_keep_their_values(dtype: str, protocol: int) -> None:
    array = np.array([0, 1, 1, 0, 1]).astype(dtype)
    assert load_pickle(pickle.dumps(array, protocol), "x").tolist() == array.tolist()


def test_object_arrays_become_lists() -> None:
    array = np.empty(2, object)
    array[:] = [b"one", b"two"]
    assert load_pickle(pickle.dumps(array), "x") == [b"one", b"two"]


def test_python_2_strings_become_bytes() -> None:
    # What Python 2 writes for (['\xff\xd8'], [True]) in protocols 0 and 2.
    assert load_pickle(b"((lp0\nS'\\xff\\xd8'\np1\na(lp2\nI01\natp3\n.", "x") == ([b"\xff\xd8"], [True])
    assert load_pickle(b"\x80\x02]q\x00U\x02\xff\xd8q\x01a]q\x02\x88a\x86q\x03.", "x") == ([b"\xff\xd8"], [True])


class _Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: object, *arguments: object):
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


def _attacks(trace: Path) -> dict[str, tuple[bytes, str]]:
    import os
    import subprocess

    command = f"touch {trace}"
    return {
        "os.system": (pickle.dumps(_Runs(os.system, command)), r"'posix\.system'"),
        "protocol 0": (pickle.dumps(_Runs(os.system, command), 0), r"'posix\.system'"),
        "eval": (pickle.dumps(_Runs(eval, f"open({str(trace)!r}, 'w')"), 2), r"'__builtin__\.eval'"),
        "subprocess": (pickle.dumps(_Runs(subprocess.Popen, command, -1, None)), r"'subprocess\.Popen'"),
        "getattr": (pickle.dumps(_Runs(getattr, b"", "join")), r"'builtins\.getattr'"),
        "numpy.load": (pickle.dumps(_Runs(np.load, str(trace))), r"'numpy\.load'"),
        "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.", r"'numpy\.ndarray\.__new__'"),
        "inside the images": (pickle.dumps(([b"x", _Runs(os.system, command)], [True])), r"'posix\.system'"),
    }


@pytest.mark.parametrize("name", _attacks(Path("trace")))
def test_a_pickle_that_would_run_code_is_refused_by_name_and_runs_nothing(tmp_path: Path, name: str) -> None:
    data, expected = _attacks(tmp_path / "trace")[name]
    with pytest.raises(DataError, match=rf"^lfw\.bin: its pickle names {expected}, which may run code") as caught:
        load_pickle(data, "lfw.bin")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff an image",
        pickle.dumps([b"x" * 1000])[:500],
        b"\x80\x63.",
        b"cnumpy\ndtype\n)R.",
        b"\x80\x02cnumpy.core.numeric\n_frombuffer\nJ\xff\xff\xff\x7fcnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R\x86R.",
    ],
)
def test_what_is_no_pickle_is_named_in_one_line(data: bytes) -> None:
    with pytest.raises(
        DataError, match=r"^x\.bin: not a readable pickle \(.+\); expected an InsightFace \.bin"
    ) as caught:
        load_pickle(data, "x.bin")
    assert "\n" not in str(caught.value)


def test_arrays_of_other_types_are_refused() -> None:
    with pytest.raises(DataError, match=r"x: numpy type 'U2'; expected bytes, booleans or numbers"):
        load_pickle(pickle.dumps(np.array(["ab"])), "x")


def _laughs(opening: bytes, closing: bytes, levels: int = 40) -> bytes:
    """Containers that hold the one before twice: 2^levels values in a few hundred bytes."""
    return b"\x80\x02K\x01" + (opening + b"2" + closing) * levels + b"."


BOMBS = {
    "a place of 2 GB": (b"\x80\x02]r\xff\xff\xff\x0f.", "stores at place 268435455 after 2 steps"),
    "tuples within tuples": (_laughs(b"", b"\x86"), "lists within lists"),
    "lists within lists": (b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".", "lists within lists"),
    "a list in itself": (b"\x80\x02]q\x00h\x00a.", "lists within lists"),
    "one list in many places": (b"\x80\x02]q\x00(]q\x01(" + b"K\x01" * 3000 + b"e" + b"h\x01" * 3000 + b"e.", "lists"),
    "a set of tuples": (_laughs(b"", b"\x86")[:-1] + b"\x91.", "step FROZENSET"),
    "a key of tuples": (b"\x80\x02}" + _laughs(b"", b"\x86")[2:-1] + b"K\x01s.", "step EMPTY_DICT"),
    "bytes of 1 TB": (b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".", "not a readable pickle"),
    "text of 1 TB": (b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b".", "not a readable pickle"),
    "one text encoded often": (
        b"\x80\x02c_codecs\nencode\nq\x00X\x10\x27\x00\x00"
        + b"a" * 10_000
        + b"q\x010("
        + b"h\x00h\x01\x85R" * 3000
        + b"l.",
        "makes more bytes than it has",
    ),
    "five million lists": (b"\x80\x02(" + b"]" * 5_000_000 + b"l.", "more than 4000000 steps"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_named_at_once(name: str) -> None:
    data, expected = BOMBS[name]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    with pytest.raises(DataError, match=rf"^x\.bin: .*{expected}") as caught:
        load_pickle(data, "x.bin")
    assert len(str(caught.value)) < 300
    assert time.monotonic() - begun < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 500_000


def test_an_array_in_many_places_is_read_once() -> None:
    image = np.arange(200, dtype=np.uint8)
    made = load_pickle(pickle.dumps(([image] * 50, [True] * 25)), "x")
    assert len(made[0]) == 50
    assert all((one == image).all() for one in made[0])
