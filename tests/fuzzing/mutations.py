"""Inputs for readers: bytes of a valid file with edits, and bytes built from nothing."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from insightface_cakd.errors import CAKDError

# Of each test. The same inputs at each run: a test that fails can be run again.
EXAMPLES = settings(
    max_examples=150, deadline=20_000, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 29, (1 << 29) - 1)
_WORDS = st.sampled_from([number.to_bytes(4, order) for number in _NUMBERS for order in ("little", "big")])
_CONTENT = st.one_of(st.binary(max_size=8), _WORDS, st.integers(1, 600).map(bytes))


@st.composite
def edited(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """Draw a file with one to four edits: bytes replaced, put in, taken out, or the rest cut off."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)) | st.integers(0, min(64, len(data))))
        kind = draw(st.sampled_from(["replace", "put in", "take out", "cut off"]))
        content = draw(_CONTENT)
        if kind == "replace":
            data = data[:place] + content + data[place + len(content) :]
        elif kind == "put in":
            data = data[:place] + content + data[place:]
        elif kind == "take out":
            data = data[:place] + data[place + len(content) :]
        else:
            data = data[:place]
    return data


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for one input."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def survives(read: Callable[[], Any], *outputs: Path) -> bool:
    """Run a reader, and return whether it succeeded.

    Anything but success and one line of ours fails the test, and so does an output of a reader that did not succeed.
    """
    said = ""
    try:
        read()
    except CAKDError as error:
        said = str(error)
    assert "\n" not in said, said
    for output in outputs:
        assert output.exists() == (not said), f"{output} was left, or is missing"
        assert not list(output.parent.glob(".*.partial")), "a temporary file was left"
    return not said
