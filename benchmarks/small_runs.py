"""Small training runs in processes of their own, with all that come from them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from insightface_cakd.data.faces import write_face_set
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe.settings import given
from insightface_cakd.tasks.precompute import make_prototypes

WIDTH, BATCH, PICTURES, EPOCHS = 32, 12, 4, 3
# In an epoch: each batch has as many images as there are people.
STEPS = PICTURES
STEP = re.compile(r"step (\d+)/")
# A run of a few seconds that has not ended by then hangs.
LIMIT = 600


@dataclass(frozen=True)
class Case:
    """A kind of run: what keeps state between its steps.

    Args:
        recipe: name of a shipped recipe.
        ranks: processes; more than one by torchrun.
        workers: of each rank's loader.
        network: the student.
        settings: of the config.
    """

    recipe: str
    ranks: int
    workers: int
    network: str = "cnn_tiny"
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join([f"{self.recipe} x {self.ranks}", f"{self.workers} workers", self.network, *self.settings])

    def command(self, files: Path, output: Path, resume: bool) -> list[str]:
        """Return the command that starts the run, or goes on with it."""
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={self.ranks}"]
        settings = {
            "rec": f"{str(files / 'data')!r}",
            "output": f"{str(output)!r}",
            "network": self.network,
            "embedding_size": WIDTH,
            "batch_size": BATCH // self.ranks,
            "num_epoch": EPOCHS,
            "warmup_epoch": 0,
            "num_workers": self.workers,
            "frequent": 1,
            "device": "cpu",
        }
        return [
            *(sys.executable, *(launcher if self.ranks > 1 else ()), "-m", "insightface_cakd", "train", "faces_cnn_tiny"),
            *("--distill", self.recipe, "--teacher", str(files / "teacher.pt")),
            *(("--prototypes", str(files / "prototypes")) if self.recipe == "coupleface" else ()),
            *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
            *(part for one in self.settings for part in ("--set", one)),
            *(["--resume"] if resume else []),
        ]  # fmt: skip


def prepare(folder: Path, pictures: int = PICTURES) -> None:
    """Draw faces and an untrained teacher, with its prototypes.

    Args:
        folder: where they go, new or empty.
        pictures: of each of 12 people.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty; expected a new folder for the runs. Name another one.")
    write_face_set(folder / "data", people=BATCH, pictures=pictures, pairs=20, seed=7)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch.save(get_model("vit_tiny", num_features=WIDTH).state_dict(), folder / "teacher.pt")
    make_prototypes("cosine", folder / "data", folder / "prototypes", given(teacher=str(folder / "teacher.pt")))


def log_of(output: Path, resume: bool) -> Path:
    """Return where the log of a run is written."""
    return output.with_name(f"{output.name}{' resumed' if resume else ''}.log")


def last_step(log: Path) -> int:
    """Return the last step in a log, 0 if there is none."""
    return max(map(int, STEP.findall(log.read_text(errors="replace"))), default=0)


@contextmanager
def process(case: Case, files: Path, output: Path, resume: bool) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a run, and kill what is left of it in the end; yields it and its log."""
    log = log_of(output, resume)
    with log.open("wb") as stream:
        run = subprocess.Popen(
            case.command(files, output, resume),
            stdout=stream,
            stderr=stream,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        try:
            yield run, log
        finally:
            kill_all(run.pid)
            run.wait()


def run_to_its_end(case: Case, files: Path, output: Path, resume: bool) -> None:
    """Run a case; a RunError says how it ended, if not well."""
    with process(case, files, output, resume) as (run, log):
        try:
            code = run.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise RunError(
                f"kills: {case} has not ended after {LIMIT} s; expected some seconds. Look at {log}."
            ) from None
    if code:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise RunError(f"kills: {case} ended with {code}; expected 0. Look at {log}: {said}")


def family(root: int) -> list[int]:
    """Return a process and all that come from it: launcher, ranks, loaders."""
    found, new = [], [root]
    while new:
        found += new
        new = [child for parent in new for child in _children(parent)]
    return found


def kill_all(root: int) -> None:
    """Kill a process and all that come from it at once."""
    for pid in family(root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in file.read_text().split()]
    return found
