"""A run's output folder, and what a stopped run needs to go on as if it had not stopped."""

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insightface_cakd.atomic import replacing
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.parts import Parts
from insightface_cakd.ranks import rank, world_size

MODEL = "model.pt"
BEST = "best.pt"
RESULT = "result.json"

# arcface_torch's keys, and a few more.
KEYS = (
    "epoch",
    "global_step",
    "state_dict_backbone",
    "state_dict_softmax_fc",
    "state_optimizer",
    "state_lr_scheduler",
    "state_grad_scaler",
    "state_rng",
    "world_size",
    "best",
)


def check_output(output: Path, resume: bool) -> None:
    """Refuse a folder that holds another run, or none to resume, before anything is built.

    Raises:
        RunError: a new run would overwrite an old one, or there is no checkpoint to go on from.
    """
    used = [name for name in (MODEL, RESULT, checkpoint_path(output, 0).name) if (output / name).exists()]
    if used and not resume:
        raise RunError(
            f"{output}: holds another run ({', '.join(used)}); expected a new folder. Pass --resume, --output DIR, or remove it."
        )
    if resume:
        load_checkpoint(checkpoint_path(output, rank()))


def make_output(output: Path) -> None:
    """Make the output folder.

    Raises:
        RunError: it cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{output}: cannot be made ({error.strerror}); expected a folder to write to. Pass --output DIR."
        ) from error


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
        raise RunError(
            f"{path}: cannot be written ({reason}); what was saved before is untouched. Free some space and use --resume."
        ) from error


def checkpoint_path(output: Path, rank: int) -> Path:
    """Return arcface_torch's name of a rank's checkpoint."""
    return output / f"checkpoint_gpu_{rank}.pt"


def rng_state() -> dict[str, Any]:
    """Return the state of every generator that training draws from, as tensors and plain numbers."""
    numpy = np.random.get_state(legacy=False)
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
            numpy["state"]["pos"],
            numpy["has_gauss"],
            numpy["gauss"],
        ],
        "python": [version, list(numbers), gauss],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Put every generator back where `rng_state` found it."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a rank's checkpoint on the CPU.

    Raises:
        RunError: there is none, it is damaged, or it is another file.
    """
    if not path.is_file():
        raise RunError(
            f"--resume: {path} does not exist; expected the checkpoint of a run that was stopped. Start it without --resume."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"--resume: {path} cannot be read ({reason}); expected a checkpoint of this host. Start a new run."
        ) from error
    missing = [key for key in KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        raise RunError(
            f"--resume: {path} lacks {', '.join(missing)}; expected a checkpoint of this host. Start a new run."
        )
    return content


def restore(name: str, load: Callable[[Any], Any], state: Any) -> None:
    """Load one part of a checkpoint.

    Raises:
        RunError: it belongs to another config.
    """
    try:
        load(state)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(
            f"--resume: the checkpoint's {name} does not fit ({reason}). Resume with the config, recipe and ranks of the run."
        ) from error


def save(parts: Parts, student: dict[str, Any], best: dict[str, float]) -> None:
    """Write this rank's checkpoint, under arcface_torch's keys and a few more."""
    content = {
        "epoch": parts.epoch,
        "global_step": parts.step,
        "state_dict_backbone": student,
        "state_dict_softmax_fc": parts.head.state_dict(),
        "state_optimizer": parts.optimizer.state_dict(),
        "state_lr_scheduler": parts.scheduler.state_dict(),
        "state_grad_scaler": parts.scaler.state_dict(),
        "state_rng": rng_state(),
        "world_size": world_size(),
        "best": best,
    }
    save_atomically(content, checkpoint_path(parts.output, rank()))


def load(parts: Parts) -> dict[str, float]:
    """Put every part where the checkpoint left it; return the best accuracies so far.

    Raises:
        RunError: no checkpoint, a damaged one, or another config's.
    """
    saved = load_checkpoint(checkpoint_path(parts.output, rank()))
    if saved["world_size"] != world_size():
        raise RunError(
            f"--resume: the checkpoint is of {saved['world_size']} ranks, this run has {world_size()}. Use as many ranks."
        )
    restore("student", parts.backbone.load_state_dict, saved["state_dict_backbone"])
    restore("head", parts.head.load_state_dict, saved["state_dict_softmax_fc"])
    restore("optimiser", parts.optimizer.load_state_dict, saved["state_optimizer"])
    restore("schedule", parts.scheduler.load_state_dict, saved["state_lr_scheduler"])
    restore("loss scaler", parts.scaler.load_state_dict, saved["state_grad_scaler"])
    parts.epoch, parts.step = saved["epoch"], saved["global_step"]
    restore_rng(saved["state_rng"])
    return saved["best"]
