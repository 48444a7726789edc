"""Memory and open files of a long run: whether anything grows with its steps."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.small_runs import Case, family, last_step, prepare, process
from insightface_cakd.errors import RunError
from insightface_cakd.report.tables import markdown_table

MIB = 2**20
EPOCHS = 20


@dataclass(frozen=True)
class Sample:
    """What all processes of a run hold.

    Args:
        step: the last that was logged.
        memory: bytes that are theirs alone, and their shares of what they have in common.
        files: open file descriptors.
    """

    step: int
    memory: int
    files: int


def long_run(folder: Path, steps: int, workers: int, recipe: str, every: float = 1.0) -> list[Sample]:
    """Train for a number of steps, and look at the processes every second.

    Args:
        folder: an empty or new folder, in which everything is written.
        steps: of the optimiser.
        workers: of the loader; they end and start with each epoch.
        recipe: name of a shipped recipe.
        every: seconds between two looks.

    Raises:
        RunError: the run does not end well.
    """
    pictures = -(-steps // EPOCHS)
    prepare(folder, pictures)
    case = Case(recipe, 1, workers, settings=(f"num_epoch={EPOCHS}",))
    samples = []
    with process(case, folder, folder / "run", resume=False) as (run, log):
        while run.poll() is None:
            time.sleep(every)
            samples.append(look(run.pid, last_step(log)))
        if run.returncode:
            raise RunError(f"long: the run ended with {run.returncode}; expected 0. Look at {log}.")
    return [sample for sample in samples if sample.step > 0]


def look(root: int, step: int) -> Sample:
    """Return what a process and all that come from it hold now."""
    memory = files = 0
    for pid in family(root):
        # It may end meanwhile.
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            memory += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(step, memory, files)


def quarters(samples: Sequence[Sample]) -> str:
    """Return a table: the median and the largest of each quarter of a run."""
    rows = []
    for number in range(4):
        part = samples[number * len(samples) // 4 : (number + 1) * len(samples) // 4]
        memory, files = (sorted(getattr(one, name) for one in part) for name in ("memory", "files"))
        rows.append(
            {
                "steps": f"{part[0].step} to {part[-1].step}",
                "memory, median": f"{memory[len(part) // 2] / MIB:.0f} MiB",
                "largest": f"{memory[-1] / MIB:.0f} MiB",
                "open files, median": str(files[len(part) // 2]),
                "most": str(files[-1]),
            }
        )
    return markdown_table(rows)
