"""What a checkpoint contains, and how a run continues from it."""

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insightface_cakd.data.label_order import LABELS, as_saved, check_labels
from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.hosts.embedded.parts import Parts
from insightface_cakd.hosts.generations import Generation, checkpoint_path, commit, exists, newest
from insightface_cakd.hosts.resharding import BY_CLASS, for_this_rank, rows_by_class
from insightface_cakd.runtime.leftovers import clear_leftovers
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.runtime.run_folder import MODEL, RESULT
from insightface_cakd.runtime.tensor_file import oddity

# The keys that this host adds, and what a resumed run does without them, where that is worth saying.
ADDED = {
    "state_grad_scaler": "the loss scaler starts afresh",
    "state_rng": "sampled classes, dropped tokens and paths are drawn afresh from the seed",
    "world_size": "the number of ranks is that of the files",
    "best": "best.pt is chosen among the epochs to come",
    "improved": "",
    "images": "",
    BY_CLASS: "",
    LABELS: "that each label stands for the same person is not checked",
}


def check_output(output: Path, resume: bool) -> Generation | None:
    """Check the output folder before anything is built.

    Returns the checkpoint that a resumed run goes on from.

    Raises:
        RunError: a new run would overwrite an old one, or there is no checkpoint to resume from.
    """
    if resume:
        return newest(output)
    stopped = exists(output)
    used = [name for name in (MODEL, RESULT) if (output / name).exists()]
    if used or stopped:
        names = ", ".join([*used, *([checkpoint_path(output, 0).name] if stopped else [])])
        go_on = "Pass --resume, --output DIR," if stopped else "Pass --output DIR,"
        raise RunError(f"{output}: holds another run ({names}); expected a new folder. {go_on} or remove it.")
    return None


def make_output(output: Path) -> None:
    """Create the output folder; remove what a killed run left in it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{output}: cannot be made ({error.strerror}); expected a folder to write to. Pass --output DIR."
        ) from error
    if rank() == 0:
        clear_leftovers(output)


def save(parts: Parts, student: dict[str, Any], best: dict[str, float], improved: bool) -> None:
    """Write the checkpoint; all ranks call it.

    It has arcface_torch's keys, with the same meaning, and those of `ADDED`.

    Args:
        parts: of the run.
        student: its state.
        best: the best value of each verification set.
        improved: whether this student is the best.
    """
    content = {
        "epoch": parts.epoch,
        "global_step": parts.epoch * len(parts.loader) + parts.done,
        "state_dict_backbone": student,
        "state_dict_softmax_fc": parts.head.state_dict(),
        "state_optimizer": parts.optimizer.state_dict(),
        "state_lr_scheduler": _schedule_in_batches(parts),
        "state_grad_scaler": parts.scaler.state_dict(),
        "state_rng": rng_state(),
        "world_size": world_size(),
        "best": best,
        "improved": improved,
        # Of all ranks, so that another number of them finds its place.
        "images": parts.done * parts.cfg.batch_size * world_size(),
        BY_CLASS: rows_by_class(parts.head),
        LABELS: as_saved(parts.labels),
    }
    commit(content, parts.output)


def _schedule_in_batches(parts: Parts) -> dict[str, Any]:
    """Return the schedule's state as arcface_torch's scheduler reads it.

    arcface_torch's scheduler steps with every batch, this host's counts optimiser steps: the two differ where
    `gradient_acc` exceeds 1.
    """
    batches = len(parts.loader)
    return parts.scheduler.state_dict() | {
        "last_epoch": parts.epoch * batches + parts.done,
        "total_iters": parts.cfg.num_epoch * batches,
        "warmup_iters": int(batches * parts.cfg.warmup_epoch),
    }


@dataclass(frozen=True)
class Start:
    """From where a run starts.

    Args:
        generation: the checkpoint that it continues from; None for a new run.
        best: the best value of each verification set so far.
        improved: whether the student of the checkpoint is the best.
    """

    generation: Generation | None = None
    best: dict[str, float] = field(default_factory=dict)
    improved: bool = False


def load(parts: Parts, generation: Generation) -> Start:
    """Restore newly built parts from a checkpoint of any number of ranks.

    The checkpoint is this host's or arcface_torch's; the latter has no best values. Weights, optimiser buffers and the
    schedule's power come from the checkpoint. Learning rate, weight decay, momentum and the number of epochs come from the
    config, and step and schedule are placed where this config has them after the completed epochs: a run can be prolonged.
    """
    saved = for_this_rank(generation, "--resume")
    fix = "Resume with the data of the run, or start a new one."
    check_labels(saved.get(LABELS), parts.labels, f"--resume: {generation.files[0]}", RunError, fix)
    _restore("student", parts.backbone.load_state_dict, saved["state_dict_backbone"])
    _restore("head", parts.head.load_state_dict, saved["state_dict_softmax_fc"])
    _restore("optimiser", functools.partial(_load_optimizer, parts.optimizer), saved["state_optimizer"])
    place = functools.partial(_place, parts, saved["epoch"], saved.get("images", 0))
    _restore("schedule", place, saved["state_lr_scheduler"])
    if "state_grad_scaler" in saved:
        _restore("loss scaler", parts.scaler.load_state_dict, saved["state_grad_scaler"])
    if "state_rng" in saved:
        _restore("random state", restore_rng, saved["state_rng"])
    if rank() == 0:
        _say_what_is_missing(saved, parts)
    best = saved.get("best", {})
    _restore("best values", _check_best, best)
    return Start(generation, best, saved.get("improved", False))


def _check_best(best: dict[str, float]) -> None:
    for name, value in best.items():
        if not isinstance(name, str) or not isinstance(value, int | float):
            raise ValueError(f"{name!r} is {value!r}")


def _restore(name: str, load: Callable[[Any], Any], state: Any) -> None:
    """Load one part of a checkpoint, or say which does not fit."""
    try:
        load(state)
    # A file that someone else wrote may hold anything in any place.
    except Exception as error:
        reason = in_one_line(error)[:300] or type(error).__name__
        raise RunError(
            f"--resume: the checkpoint's {name} does not fit ({reason}). Resume with the config and recipe of the run."
        ) from error


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the optimiser's buffers; learning rates and other settings stay the config's."""
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    saved, wanted = ("adamw" if "betas" in groups[0] else "sgd" for groups in (state["param_groups"], settings))
    if saved != wanted:
        raise ValueError(f"it is {saved}'s, the config says {wanted}")
    optimizer.load_state_dict(state)
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            if not isinstance(value, torch.Tensor | int | float | None):
                raise ValueError(f"its {name} is a {type(value).__name__}")
            if isinstance(value, torch.Tensor) and (oddity(value) or (value.ndim and value.shape != weight.shape)):
                raise ValueError(
                    f"its {name} is {oddity(value) or tuple(value.shape)}, the weight {tuple(weight.shape)}"
                )
    for group, kept in zip(optimizer.param_groups, settings, strict=True):
        group.update(kept)


def _place(parts: Parts, epoch: int, images: int, schedule: dict[str, Any]) -> None:
    """Set step and schedule to the end of an epoch, or to a place in the next.

    The power of the schedule comes from the checkpoint, arcface_torch's included.

    Args:
        parts: of the run.
        epoch: completed ones.
        images: of the next epoch that are done, of all ranks.
        schedule: as saved.
    """
    if "power" not in schedule:
        raise ValueError("it has no power, as if of another schedule than PolynomialLRWarmup")
    parts.scheduler.power = float(schedule["power"])
    parts.epoch = epoch
    together = parts.batches_together
    parts.done = min(images // (parts.cfg.batch_size * world_size()), len(parts.loader)) // together * together
    parts.step = epoch * (parts.scheduler.total_iters // parts.cfg.num_epoch) + parts.done // parts.cfg.gradient_acc
    parts.scheduler.last_epoch = parts.step
    # Torch counts its own call in the constructor too.
    parts.scheduler._step_count = parts.step + 1
    rates = parts.scheduler.get_lr()
    parts.scheduler._last_lr = rates
    for group, rate in zip(parts.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _say_what_is_missing(saved: dict[str, Any], parts: Parts) -> None:
    """Print what a checkpoint lacks, and what this run does instead."""
    means = [
        f"no {key} ({meaning})"
        for key, meaning in ADDED.items()
        if meaning and key not in saved and (key != "state_grad_scaler" or parts.scaler.is_enabled())
        if key != LABELS or parts.labels is not None
    ]
    if means:
        print(f"--resume: a checkpoint of arcface_torch or an earlier version: {'; '.join(means)}", flush=True)


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
