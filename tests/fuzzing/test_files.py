"""No input of a file reader gives a traceback, a half output, a hang or a gigabyte.

The inputs of each file `inputs_*.py` are tried in a process of its own, whose memory is measured.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SECONDS = 400
GIGABYTE = 1 << 20  # In units of 1 kB, as Linux counts.


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("file", sorted(HERE.glob("inputs_*.py")), ids=lambda path: path.stem.removeprefix("inputs_"))
def test_inputs(file: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:timeout",
        str(file),
    ]
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=HERE.parents[1])
        watch = threading.Timer(SECONDS, process.kill)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        assert process.returncode == 0, said.read()[-4000:]
    assert usage.ru_maxrss < GIGABYTE
