"""A long job on one rank, on several, and killed: time, and equal bytes."""

import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.small_runs import kill_all
from insightface_cakd.errors import RunError
from insightface_cakd.report.tables import markdown_table

OUT = "OUT"


@dataclass(frozen=True)
class JobRun:
    """What became of a job.

    Args:
        seconds: of the process, from its start to its end.
        equal: whether all files have the bytes of the run on one rank.
    """

    name: str
    seconds: float
    equal: bool


def long_jobs(folder: Path, command: str, ranks: int, kills: int, seed: int) -> list[JobRun]:
    """Run a job on one rank, on several, and on several with kills.

    Args:
        folder: where the results go; new.
        command: of `cakd`, with the word OUT where its result goes.
        ranks: processes of torchrun.
        kills: number of kills with SIGKILL, at moments drawn from the whole time of the job.
        seed: of the moments.

    Raises:
        RunError: there is no OUT in the command, the folder has something in it, or the job ends badly.
    """
    words = shlex.split(command)
    if OUT not in words:
        raise RunError(f"jobs: {command!r} has no word {OUT}; expected one where the result goes. Write it there.")
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"jobs: {folder} is not empty; expected a new folder. Name another one.")
    folder.mkdir(parents=True, exist_ok=True)
    alone, shared, killed = (folder / name for name in ("one", "several", "killed"))
    runs = [JobRun("1 rank", _to_its_end(words, alone, 1), True)]
    runs.append(JobRun(f"{ranks} ranks", _to_its_end(words, shared, ranks), contents(alone) == contents(shared)))
    draw, spent = random.Random(seed), 0.0
    for _ in range(kills):
        spent += _killed(words, killed, ranks, draw.uniform(0, runs[1].seconds))
    if not killed.exists():
        spent += _to_its_end(words, killed, ranks)
    return [*runs, JobRun(f"{ranks} ranks, {kills} kills", spent, contents(alone) == contents(killed))]


def jobs_table(runs: Sequence[JobRun]) -> str:
    """Return a line for each run."""
    return markdown_table(
        [
            {
                "job": run.name,
                "seconds": f"{run.seconds:.1f}",
                "of one rank": f"{run.seconds / runs[0].seconds:.2f}",
                "bytes": "equal" if run.equal else "**different**",
            }
            for run in runs
        ]
    )


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file or of all files of a folder, by name."""
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {one.relative_to(path).as_posix(): one.read_bytes() for one in files}


def _start(words: Sequence[str], out: Path, ranks: int) -> subprocess.Popen[bytes]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    given = [str(out) if word == OUT else word for word in words]
    command = [sys.executable, *launcher, "-m", "insightface_cakd", *given]
    with out.with_name(f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _to_its_end(words: Sequence[str], out: Path, ranks: int) -> float:
    started = time.monotonic()
    code = _start(words, out, ranks).wait()
    if code:
        log = out.with_name(f"{out.name}.log")
        said = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise RunError(f"jobs: {shlex.join(words)} ended with {code}; expected 0. Look at {log}: {said}")
    return time.monotonic() - started


def _killed(words: Sequence[str], out: Path, ranks: int, after: float) -> float:
    """Kill a job after some seconds, unless it has ended; return how long it ran."""
    if out.exists():
        return 0.0
    started = time.monotonic()
    process = _start(words, out, ranks)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        kill_all(process.pid)
        process.wait()
    return time.monotonic() - started
