"""What a stopped run needs to go on as if it had not stopped."""

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insightface_cakd.atomic import replacing
from insightface_cakd.errors import RunError


def save_atomically(content: Any, path: Path) -> None:
    """Save with `torch.save`; whatever goes wrong, the file is the old one or the new one.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
    # torch's writer reports a full disk as a RuntimeError of its own.
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "file write failed" in str(error)
        reason = "no space left on the device" if full else " ".join(str(error).split())
        raise RunError(f"{path}: cannot be written ({reason}); what was saved before is untouched. Free some space and use --resume.") from error


def checkpoint_path(output: Path, rank: int) -> Path:
    """Return arcface_torch's name of a rank's checkpoint."""
    return output / f"checkpoint_gpu_{rank}.pt"


def rng_state() -> dict[str, Any]:
    """Return the state of every generator that training draws from, as tensors and plain numbers."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "python": [version, list(numbers), gauss],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Put every generator back where `rng_state` found it."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a rank's checkpoint on the CPU.

    Raises:
        RunError: there is none, or it is damaged.
    """
    if not path.is_file():
        raise RunError(f"--resume: {path} does not exist; expected the checkpoint of a run that was stopped. Start it without --resume.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"--resume: {path} cannot be read ({reason}); expected a checkpoint of this host. Start a new run.") from error


def restore(name: str, load: Callable[[Any], Any], state: Any) -> None:
    """Load one part of a checkpoint.

    Raises:
        RunError: it belongs to another config.
    """
    try:
        load(state)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"--resume: the checkpoint's {name} does not fit ({reason}). Resume with the config, recipe and ranks of the run.") from error
