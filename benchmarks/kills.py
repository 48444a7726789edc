"""Training runs that are killed at random moments, and whether they end bit for bit like runs that were not."""

import json
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.small_runs import (
    EPOCHS,
    LIMIT,
    STEPS,
    Case,
    kill_all,
    last_step,
    log_of,
    prepare,
    process,
    run_to_its_end,
)
from insightface_cakd.errors import RunError

Moment = Literal["training", "epoch's end", "saving"]
MOMENTS: tuple[Moment, ...] = ("training", "epoch's end", "saving")
# Written under another name first, and renamed when whole.
UNFINISHED = ("checkpoint_gpu_*.next.pt", ".*.partial*")

# A queue, moving thresholds, fields and prompts, moving class centres, a bank; dropped tokens and sampled classes are random numbers.
CASES = (
    Case("qud", 1, 2),
    Case("cakd", 2, 0),
    Case("ekd", 2, 2),
    Case("adadistill", 1, 0, "vit_tiny"),
    Case("coupleface", 1, 2, "vit_tiny", ("sample_rate=0.5",)),
    Case("cakd", 1, 2, settings=("sample_rate=0.5",)),
    Case("adadistill", 2, 2, "vit_tiny"),
    Case("ekd", 1, 0, "vit_tiny", ("gradient_acc=2", "batch_size=6")),
)


@dataclass
class Kill:
    """What became of one run that was killed.

    Args:
        after: last step that it had logged.
        faults: what differs from the run that was not killed; nothing if all is equal.
    """

    case: Case
    moment: Moment
    after: int
    faults: list[str] = field(default_factory=list)


def kills(folder: Path, times: int, seed: int, cases: Sequence[Case] = CASES) -> Iterator[Kill]:
    """Kill runs at random moments, go on with each, and compare its end.

    Args:
        folder: an empty or new folder, in which everything is written.
        times: number of kills; they go round the cases and the kinds of moments.
        seed: of the moments.
        cases: kinds of runs.
    """
    prepare(folder)
    draw = random.Random(seed)
    whole: dict[Case, Path] = {}
    for number in range(times):
        case, moment = cases[number % len(cases)], MOMENTS[number // len(cases) % len(MOMENTS)]
        if case not in whole:
            whole[case] = folder / f"whole {len(whole)}"
            run_to_its_end(case, folder, whole[case], resume=False)
        yield kill_once(case, moment, folder, folder / f"killed {number}", whole[case], draw)


def kill_once(case: Case, moment: Moment, files: Path, output: Path, whole: Path, draw: random.Random) -> Kill:
    """Start a run, kill it, go on with it, and compare its end with `whole`."""
    with process(case, files, output, resume=False) as (run, log):
        after = wait_for(moment, run, log, output, draw)
        kill_all(run.pid)
        run.wait()
    found = Kill(case, moment, after)
    try:
        try:
            run_to_its_end(case, files, output, resume=True)
        except RunError:
            # As a user does: what was killed before its first checkpoint says so, and is started anew. The launcher of several ranks says
            # more behind it.
            if "Start it without --resume" not in log_of(output, resume=True).read_text(errors="replace"):
                raise
            run_to_its_end(case, files, output, resume=False)
    except RunError as error:
        found.faults.append(str(error))
    else:
        found.faults += differences(whole, output, case.ranks)
    return found


def wait_for(moment: Moment, run: subprocess.Popen[bytes], log: Path, output: Path, draw: random.Random) -> int:
    """Wait until a run is to be killed; return the last step that it logged.

    Args:
        moment: `training`: a while after any step; `epoch's end`: after the last step of an epoch, while it verifies or saves; `saving`: as
            soon as a checkpoint is being written.
    """
    step = draw.randrange(EPOCHS) * STEPS + (STEPS if moment != "training" else draw.randrange(1, STEPS + 1))
    wait = draw.uniform(0, 0.5 if moment != "saving" else 0.02)
    started = time.monotonic()
    while run.poll() is None and last_step(log) < step:
        if time.monotonic() - started > LIMIT:
            raise RunError(
                f"kills: {log} has no step {step} after {LIMIT} s; expected a run of some seconds. Look at it."
            )
        time.sleep(0.005)
    while moment == "saving" and run.poll() is None and not any(any(output.glob(name)) for name in UNFINISHED):
        time.sleep(0.0005)
    time.sleep(wait)
    return last_step(log)


def differences(whole: Path, output: Path, ranks: int) -> list[str]:
    """Return what differs between two finished runs, to the bit."""
    names = ["model.pt", "best.pt", *(f"checkpoint_gpu_{number}.pt" for number in range(ranks))]
    found = [name for name in names if _loaded(whole / name) != _loaded(output / name)]
    theirs, ours = (json.loads((run / "result.json").read_text())["accuracy"] for run in (whole, output))
    return found + (["the accuracy in result.json"] if theirs != ours else [])


def _loaded(path: Path) -> Any:
    return _flat(torch.load(path, weights_only=True))


def _flat(content: Any) -> Any:
    """Return what a file holds, tensors as their bytes."""
    if isinstance(content, torch.Tensor):
        return (content.dtype, tuple(content.shape), content.reshape(-1).view(torch.uint8).numpy().tobytes())
    if isinstance(content, dict):
        return {key: _flat(value) for key, value in content.items()}
    return [_flat(value) for value in content] if isinstance(content, list | tuple) else content
