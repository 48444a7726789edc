"""No input of a file reader gives a traceback, a half output, a hang or a gigabyte.

The inputs of each file `inputs_*.py` are tried in a process of its own, whose memory is measured.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peak_memory import run_module

HERE = Path(__file__).parent
SECONDS = 400
GIGABYTE = 1 << 20  # In units of 1 kB, as Linux counts.


# In its first run hypothesis lists all characters of UTF-8, which takes 200 MB, and stores them.
FIRST_RUN = "from hypothesis import given, strategies as st; given(st.text())(lambda _: None)()"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which hypothesis has stored them."""
    env = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path_factory.mktemp("hypothesis"))}
    subprocess.run([sys.executable, "-c", FIRST_RUN], env=env, check=True)
    return env


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("file", sorted(HERE.glob("inputs_*.py")), ids=lambda path: path.stem.removeprefix("inputs_"))
def test_inputs(file: Path, stored: dict[str, str], tmp_path: Path) -> None:
    command = ["pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:timeout", str(file)]
    code, said, peak = run_module(command, HERE.parents[1], tmp_path / "peak", SECONDS, stored)
    assert code == 0, said[-4000:]
    assert peak < GIGABYTE
