"""Verification sets."""

import pickle
import pickletools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from insightface_cakd.data.bins import load_bin
from tests.data.record_files import jpeg
from tests.fuzzing.mutations import EXAMPLES, edited, scratch, survives

_IMAGES = [jpeg(1), jpeg(2), jpeg(1), jpeg(3)]
_ARRAYS = [np.frombuffer(image, np.uint8) for image in _IMAGES]
VALID = [
    pickle.dumps(content, protocol)
    for content in ((_IMAGES, [True, False]), (_ARRAYS, np.array([True, False])))
    for protocol in (0, 2, 4, 5)
]
_NUMBER = st.sampled_from([0, 1, 2, 0xFF, 1 << 28, (1 << 31) - 1]).map(lambda number: number.to_bytes(4, "little"))
_NAMES = st.sampled_from(
    [b"numpy\nndarray", b"numpy\ndtype", b"numpy.core.multiarray\nscalar", b"_codecs\nencode", b"os\nsystem"]
)


def _step(code: str) -> st.SearchStrategy[bytes]:
    if code in "cio":
        return _NAMES.map(lambda name: code.encode("latin1") + name + b"\n")
    return st.tuples(_NUMBER, st.binary(max_size=12)).map(lambda drawn: code.encode("latin1") + drawn[0] + drawn[1])


# Every step a pickle knows, and those that build lists more often.
STEPS = st.lists(
    st.one_of(
        st.sampled_from(
            [b"]", b"(", b"l", b"t", b"a", b"e", b"2", b"\x85", b"\x86", b"\x88", b"K\x01", b"q\x00", b"h\x00", b"\x94"]
        ),
        st.sampled_from([step.code for step in pickletools.opcodes]).flatmap(_step),
    ),
    max_size=30,
).map(lambda steps: b"\x80\x04" + b"".join(steps) + b".")
_LEAVES = st.one_of(
    st.none(),
    st.just(5000).map(lambda digits: 10**digits),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([*_IMAGES, b"", b"x"]),
    st.sampled_from([np.uint8(1), np.zeros(3), np.array(_IMAGES, object), _ARRAYS[0]]),
)
CONTENT = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
)


def _try(data: bytes) -> None:
    with scratch() as folder:
        (folder / "x.bin").write_bytes(data)
        survives(lambda: load_bin(folder / "x.bin"))


@EXAMPLES
@given(edited(VALID))
def test_edited(data: bytes) -> None:
    _try(data)


@EXAMPLES
@given(STEPS)
def test_built_of_steps(data: bytes) -> None:
    _try(data)


@EXAMPLES
@given(CONTENT, st.integers(2, 5))
def test_built_of_values(content: object, protocol: int) -> None:
    _try(pickle.dumps(content, protocol))


@EXAMPLES
@given(st.binary(max_size=300))
def test_built_of_bytes(data: bytes) -> None:
    _try(data)
