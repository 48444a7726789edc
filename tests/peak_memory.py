"""Modules run in a process of their own, whose peak memory is told."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# The kernel's count of a process begins with what its parent holds; that of its address space does not.
SCRIPT = r"""
import atexit, re, runpy, sys
from pathlib import Path

place = Path(sys.argv[1])
atexit.register(lambda: place.write_text(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]))
sys.argv[:] = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_module(
    arguments: list[str], folder: Path, peak: Path, seconds: int, env: Mapping[str, str] | None = None
) -> tuple[int, str, int]:
    """Return exit code, output and peak memory in kB of `python -m ...`.

    Args:
        arguments: module and its arguments.
        folder: working directory.
        peak: a new file.
        seconds: after which it is killed, and fails.
        env: its environment; this process's if None.
    """
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(peak), *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    return ran.returncode, ran.stdout, int(peak.read_text())
