"""A run's output folder and its checkpoints."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.parts import Parts
from insightface_cakd.hosts.embedded.random_state import restore_rng, rng_state
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
    """Check the output folder before anything is built."""
    used = [name for name in (MODEL, RESULT, checkpoint_path(output, 0).name) if (output / name).exists()]
    if used and not resume:
        raise RunError(
            f"{output}: holds another run ({', '.join(used)}); expected a new folder. Pass --resume, --output DIR, or remove it."
        )
    if resume:
        load_checkpoint(checkpoint_path(output, rank()))


def make_output(output: Path) -> None:
    """Create the output folder."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{output}: cannot be made ({error.strerror}); expected a folder to write to. Pass --output DIR."
        ) from error


def checkpoint_path(output: Path, rank: int) -> Path:
    """Return the path of a rank's checkpoint, named as in arcface_torch.

    Args:
        rank: from 0.
    """
    return output / f"checkpoint_gpu_{rank}.pt"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a rank's checkpoint on the CPU."""
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
    """Write this rank's checkpoint.

    It has arcface_torch's keys, with the same meaning, and those of `ADDED`.
    """
    content = {
        "epoch": parts.epoch,
        "global_step": parts.epoch * len(parts.loader),
        "state_dict_backbone": student,
        "state_dict_softmax_fc": parts.head.state_dict(),
        "state_optimizer": parts.optimizer.state_dict(),
        "state_lr_scheduler": schedule_in_batches(parts),
        "state_grad_scaler": parts.scaler.state_dict(),
        "state_rng": rng_state(),
        "world_size": world_size(),
        "best": best,
    }
    save_atomically(content, checkpoint_path(parts.output, rank()))


def schedule_in_batches(parts: Parts) -> dict[str, Any]:
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
    """Restore every part from a checkpoint and return the best accuracies.

    The checkpoint is this host's or arcface_torch's. Weights, optimiser buffers and the schedule's power come from the
    checkpoint. Learning rate, weight decay, momentum and the number of epochs come from the config, and step and
    schedule are placed where this config has them after the completed epochs: a run can be prolonged.

    Args:
        parts: the parts of the run, newly built; changed in place.

    Returns:
        Best value of each verification set so far; empty where the checkpoint has none.
    """
    saved = load_checkpoint(checkpoint_path(parts.output, rank()))
    if saved.get("world_size", world_size()) != world_size():
        raise RunError(
            f"--resume: the checkpoint is of {saved['world_size']} ranks, this run has {world_size()}. Use as many ranks."
        )
    restore("student", parts.backbone.load_state_dict, saved["state_dict_backbone"])
    restore("head", parts.head.load_state_dict, saved["state_dict_softmax_fc"])
    restore("optimiser", functools.partial(load_optimizer, parts.optimizer), saved["state_optimizer"])
    restore("schedule", functools.partial(place, parts, saved["epoch"]), saved["state_lr_scheduler"])
    if "state_grad_scaler" in saved:
        restore("loss scaler", parts.scaler.load_state_dict, saved["state_grad_scaler"])
    if "state_rng" in saved:
        restore("random state", restore_rng, saved["state_rng"])
    if rank() == 0:
        say_what_is_missing(saved, parts)
    return saved.get("best", {})


def restore(name: str, load: Callable[[Any], Any], state: Any) -> None:
    """Load one part of a checkpoint."""
    try:
        load(state)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(
            f"--resume: the checkpoint's {name} does not fit ({reason}). Resume with the config, recipe and ranks of the run."
        ) from error


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the optimiser's buffers of every parameter.

    Learning rates and other settings stay the config's.

    Raises:
        ValueError: the state is of the other optimiser, or of other parameters.
    """
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    saved, wanted = ("adamw" if "betas" in groups[0] else "sgd" for groups in (state["param_groups"], settings))
    if saved != wanted:
        raise ValueError(f"it is {saved}'s, the config says {wanted}")
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, settings, strict=True):
        group.update(kept)


def place(parts: Parts, epoch: int, schedule: dict[str, Any]) -> None:
    """Set step and schedule to the end of an epoch.

    The power of the schedule comes from the checkpoint, arcface_torch's included.

    Raises:
        ValueError: the state is of another schedule.
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


def say_what_is_missing(saved: dict[str, Any], parts: Parts) -> None:
    """Print what a checkpoint of arcface_torch lacks.

    The line also says what this run does instead.
    """
    means = [
        f"no {key} ({meaning})"
        for key, meaning in ADDED.items()
        if key not in saved and (key != "state_grad_scaler" or parts.scaler.is_enabled())
    ]
    if means:
        print(f"--resume: a checkpoint of arcface_torch: {'; '.join(means)}", flush=True)
