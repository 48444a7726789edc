"""No input of a file reader gives a traceback, a half output, a hang or a gigabyte.

The inputs of each file `inputs_*.py` are tried in a process of its own, whose memory is measured.
"""

from pathlib import Path

import pytest

from tests.peak_memory import run_module

HERE = Path(__file__).parent
SECONDS = 400
GIGABYTE = 1 << 20  # In units of 1 kB, as Linux counts.


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("file", sorted(HERE.glob("inputs_*.py")), ids=lambda path: path.stem.removeprefix("inputs_"))
def test_inputs(file: Path, tmp_path: Path) -> None:
    command = ["pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:timeout", str(file)]
    code, said, peak = run_module(command, HERE.parents[1], tmp_path / "peak", SECONDS)
    assert code == 0, said[-4000:]
    assert peak < GIGABYTE
