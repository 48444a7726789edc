"""Reads a job's config: `configs/base.py`, overridden by the job's file."""

import copy
import runpy
from pathlib import Path

from easydict import EasyDict

from insightface_cakd.errors import RunError, did_you_mean, in_one_line
from insightface_cakd.hosts.embedded.configs.base import config as base

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def get_config(config_file: str) -> EasyDict:
    """Return a job's config, a new one with each call.

    Args:
        config_file: a job of the package by name, or the path of a Python file that sets `config` to a mapping.
    """
    path = find_config(config_file)
    try:
        job = runpy.run_path(str(path)).get("config")
    # A user's file may raise anything.
    except Exception as error:
        reason = in_one_line(f"{type(error).__name__}: {error}")
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
    """Return the file of a job given by path or name."""
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
