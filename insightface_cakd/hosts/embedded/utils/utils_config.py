"""Reads a job: `configs/base.py`, overridden by the job's file."""

import copy
import runpy
from pathlib import Path

from easydict import EasyDict

from insightface_cakd.errors import RunError, did_you_mean
from insightface_cakd.hosts.embedded.configs.base import config as base

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def get_config(config_file: str) -> EasyDict:
    """Return a job's config; each call gives a new one, so that jobs cannot leak into each other.

    Args:
        config_file: a job of the package by name, or the path of a Python file that sets `config` to a mapping.

    Raises:
        RunError: there is no such job, or the file sets no `config`.
    """
    path = find_config(config_file)
    job = runpy.run_path(str(path)).get("config")
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
    smallest = {
        "batch_size": 1,
        "num_epoch": 1,
        "gradient_acc": 1,
        "num_classes": 1,
        "frequent": 1,
        "verify_epochs": 1,
        "warmup_epoch": 0,
        "lr": 0,
    }
    for key, least in smallest.items():
        value = cfg[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
            raise RunError(f"config: {key} is {value!r}; expected a number of at least {least}. Correct it.")
    if cfg.optimizer not in ("sgd", "adamw"):
        raise RunError(f"config: optimizer is {cfg.optimizer!r}; expected sgd or adamw.")
