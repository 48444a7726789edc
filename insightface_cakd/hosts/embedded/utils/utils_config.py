"""Reads a job: `configs/base.py`, overridden by the job's file."""

import copy
import runpy
from pathlib import Path
from types import UnionType

from easydict import EasyDict

from insightface_cakd.errors import RunError, did_you_mean
from insightface_cakd.hosts.embedded.configs.base import config as base

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

# Smallest value of each whole number; batch norm needs two images a batch.
WHOLE = {
    "batch_size": 2,
    "embedding_size": 1,
    "frequent": 1,
    "gradient_acc": 1,
    "num_classes": 1,
    "num_epoch": 1,
    "num_workers": 0,
    "seed": 0,
    "verbose": 0,
    "verify_epochs": 1,
}
NUMBERS = ("interclass_filtering_threshold", "lr", "momentum", "sample_rate", "warmup_epoch", "weight_decay")


def get_config(config_file: str) -> EasyDict:
    """Return a job's config; each call gives a new one, so that jobs cannot leak into each other.

    Args:
        config_file: a job of the package by name, or the path of a Python file that sets `config` to a mapping.

    Raises:
        RunError: there is no such job, the file cannot be run, or it sets no `config`.
    """
    path = find_config(config_file)
    try:
        job = runpy.run_path(str(path)).get("config")
    # A user's file may raise anything.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(
            f"config {path}: cannot be run ({reason}); expected Python that sets `config`. Correct it."
        ) from error
    if not isinstance(job, dict):
        raise RunError(f"config {path}: sets no `config`; expected a file like {CONFIGS / 'base.py'}.")
    merged = EasyDict(copy.deepcopy(dict(base)))
    merged.update(copy.deepcopy(dict(job)))
    if merged.output is None:
        merged.output = str(Path("work_dirs") / path.stem)
    return merged


def find_config(name: str) -> Path:
    """Return the file of a job given by path or name.

    Raises:
        RunError: there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    jobs = {file.stem: file for file in CONFIGS.glob("*.py") if file.stem not in ("__init__", "base")}
    stem = path.name.removesuffix(".py")
    if stem in jobs:
        return jobs[stem]
    raise RunError(
        f"config {name}: no such file and no such job; jobs: {', '.join(sorted(jobs))}.{did_you_mean(stem, jobs)}"
    )


def check_config(cfg: EasyDict) -> None:
    """Check the values that a run cannot do without.

    Raises:
        RunError: a value is missing or out of range.
    """
    for key in ("rec", "num_classes", "network"):
        if cfg.get(key) is None:
            raise RunError(
                f"config: {key} is not set; a run needs it. Pass --set {key}=..., or set it in the config file."
            )
    for key, least in WHOLE.items():
        value = cfg[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RunError(f"config: {key} is {value!r}; expected a whole number of at least {least}. Correct it.")
    for key in NUMBERS:
        value = cfg[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise RunError(f"config: {key} is {value!r}; expected a number of at least 0. Correct it.")
    if not _is_list_of(cfg.margin_list, int | float) or len(cfg.margin_list) != 3:
        raise RunError(
            f"config: margin_list is {cfg.margin_list!r}; expected three numbers, for example (1.0, 0.5, 0.0)."
        )
    if not _is_list_of(cfg.val_targets, str):
        raise RunError(f"config: val_targets is {cfg.val_targets!r}; expected a list of names, for example ['lfw'].")
    if cfg.optimizer not in ("sgd", "adamw"):
        raise RunError(f"config: optimizer is {cfg.optimizer!r}; expected sgd or adamw.")


def _is_list_of(value: object, kind: type | UnionType) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)
