"""A run's output folder and its checkpoints."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.hosts.embedded.parts import Parts
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.runtime.reading import reading
from insightface_cakd.runtime.run_folder import MODEL, RESULT
from insightface_cakd.runtime.tensor_file import save_atomically

BEST = "best.pt"

# arcface_torch's keys, and the types of their values.
KEYS = {
    "epoch": int,
    "global_step": int,
    "state_dict_backbone": dict,
    "state_dict_softmax_fc": dict,
    "state_optimizer": dict,
    "state_lr_scheduler": dict,
}
# The keys that this host adds, and what a resumed run does without them.
ADDED = {
    "state_grad_scaler": "the loss scaler starts afresh",
    "state_rng": "sampled classes, dropped tokens and paths are drawn afresh from the seed",
    "world_size": "the number of ranks is not checked",
    "best": "best.pt is chosen among the epochs to come",
}


def check_output(output: Path, resume: bool) -> None:
    """Check the output folder before anything is built.

    `RunError`: a new run would overwrite an old one, or there is no checkpoint to resume from.
    """
    used = [name for name in (MODEL, RESULT, checkpoint_path(output, 0).name) if (output / name).exists()]
    if used and not resume:
        raise RunError(
            f"{output}: holds another run ({', '.join(used)}); expected a new folder. Pass --resume, --output DIR, or remove it."
        )
    if resume:
        _load_checkpoint(checkpoint_path(output, rank()))


def make_output(output: Path) -> None:
    """Create the output folder."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{output}: cannot be made ({error.strerror}); expected a folder to write to. Pass --output DIR."
        ) from error


def checkpoint_path(output: Path, rank: int) -> Path:
    """Return the path of a rank's checkpoint, named as in arcface_torch."""
    return output / f"checkpoint_gpu_{rank}.pt"


def _load_checkpoint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunError(
            f"--resume: {path} does not exist; expected the checkpoint of a run that was stopped. Start it without --resume."
        )
    with reading(
        f"--resume: {path}", RunError, "a checkpoint of this host or of arcface_torch. Start a new run.", Exception
    ):
        content = torch.load(path, map_location="cpu", weights_only=True)
    kinds = {key: content.get(key) for key in KEYS} if isinstance(content, dict) else dict.fromkeys(KEYS)
    wrong = [key for key, kind in KEYS.items() if not isinstance(kinds[key], kind)]
    if wrong:
        raise RunError(
            f"--resume: {path} lacks {', '.join(wrong)}; expected a checkpoint of this host or of arcface_torch. Start a new run."
        )
    return content


def save(parts: Parts, student: dict[str, Any], best: dict[str, float]) -> None:
    """Write this rank's checkpoint, with the student's state and the best values.

    It has arcface_torch's keys, with the same meaning, and those of `ADDED`.
    """
    content = {
        "epoch": parts.epoch,
        "global_step": parts.epoch * len(parts.loader),
        "state_dict_backbone": student,
        "state_dict_softmax_fc": parts.head.state_dict(),
        "state_optimizer": parts.optimizer.state_dict(),
        "state_lr_scheduler": _schedule_in_batches(parts),
        "state_grad_scaler": parts.scaler.state_dict(),
        "state_rng": rng_state(),
        "world_size": world_size(),
        "best": best,
    }
    save_atomically(content, checkpoint_path(parts.output, rank()))


def _schedule_in_batches(parts: Parts) -> dict[str, Any]:
    """Return the schedule's state as arcface_torch's scheduler reads it.

    arcface_torch's scheduler steps with every batch, this host's counts optimiser steps: the two differ where
    `gradient_acc` exceeds 1.
    """
    batches = len(parts.loader)
    return parts.scheduler.state_dict() | {
        "last_epoch": parts.epoch * batches,
        "total_iters": parts.cfg.num_epoch * batches,
        "warmup_iters": int(batches * parts.cfg.warmup_epoch),
    }


def load(parts: Parts) -> dict[str, float]:
    """Restore newly built parts; return each verification set's best value.

    The checkpoint is this host's or arcface_torch's; the latter has no best values. Weights, optimiser buffers and the
    schedule's power come from the checkpoint. Learning rate, weight decay, momentum and the number of epochs come from the
    config, and step and schedule are placed where this config has them after the completed epochs: a run can be prolonged.
    """
    saved = _load_checkpoint(checkpoint_path(parts.output, rank()))
    if saved.get("world_size", world_size()) != world_size():
        raise RunError(
            f"--resume: the checkpoint is of {saved['world_size']} ranks, this run has {world_size()}. Use as many ranks."
        )
    _restore("student", parts.backbone.load_state_dict, saved["state_dict_backbone"])
    _restore("head", parts.head.load_state_dict, saved["state_dict_softmax_fc"])
    _restore("optimiser", functools.partial(_load_optimizer, parts.optimizer), saved["state_optimizer"])
    _restore("schedule", functools.partial(_place, parts, saved["epoch"]), saved["state_lr_scheduler"])
    if "state_grad_scaler" in saved:
        _restore("loss scaler", parts.scaler.load_state_dict, saved["state_grad_scaler"])
    if "state_rng" in saved:
        _restore("random state", restore_rng, saved["state_rng"])
    if rank() == 0:
        _say_what_is_missing(saved, parts)
    return saved.get("best", {})


def _restore(name: str, load: Callable[[Any], Any], state: Any) -> None:
    """Load one part of a checkpoint, or say which does not fit."""
    try:
        load(state)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = in_one_line(error)[:300]
        raise RunError(
            f"--resume: the checkpoint's {name} does not fit ({reason}). Resume with the config, recipe and ranks of the run."
        ) from error


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the optimiser's buffers; learning rates and other settings stay the config's."""
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    saved, wanted = ("adamw" if "betas" in groups[0] else "sgd" for groups in (state["param_groups"], settings))
    if saved != wanted:
        raise ValueError(f"it is {saved}'s, the config says {wanted}")
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, settings, strict=True):
        group.update(kept)


def _place(parts: Parts, epoch: int, schedule: dict[str, Any]) -> None:
    """Set step and schedule to the end of an epoch.

    The power of the schedule comes from the checkpoint, arcface_torch's included.
    """
    if "power" not in schedule:
        raise ValueError("it has no power, as if of another schedule than PolynomialLRWarmup")
    parts.scheduler.power = float(schedule["power"])
    parts.epoch = epoch
    parts.step = parts.scheduler.last_epoch = epoch * (parts.scheduler.total_iters // parts.cfg.num_epoch)
    rates = parts.scheduler.get_lr()
    parts.scheduler._last_lr = rates
    for group, rate in zip(parts.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _say_what_is_missing(saved: dict[str, Any], parts: Parts) -> None:
    """Print what a checkpoint lacks, and what this run does instead."""
    means = [
        f"no {key} ({meaning})"
        for key, meaning in ADDED.items()
        if key not in saved and (key != "state_grad_scaler" or parts.scaler.is_enabled())
    ]
    if means:
        print(f"--resume: a checkpoint of arcface_torch: {'; '.join(means)}", flush=True)


def rng_state() -> dict[str, Any]:
    """Return every generator's state, as tensors and plain numbers."""
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
    """Restore every generator to a state from `rng_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
