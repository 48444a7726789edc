"""Reads a job's config: `configs/base.py`, overridden by the job's file."""

import copy
import runpy
from pathlib import Path

from easydict import EasyDict

from insightface_cakd.errors import RunError, did_you_mean
from insightface_cakd.hosts.embedded.configs.base import config as base
from insightface_cakd.runtime.foreign import foreign

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def get_config(config_file: str) -> EasyDict:
    """Return a job's config, a new one with each call.

    Args:
        config_file: a job of the package by name, or the path of a Python file that sets `config` to a mapping.
    """
    path = find_config(config_file)
    with foreign(f"config {path}", RunError, "Python that sets `config`. Correct it.", fails="cannot be run"):
        job = runpy.run_path(str(path)).get("config")
    if not isinstance(job, dict):
        raise RunError(f"config {path}: sets no `config`; expected a file like {CONFIGS / 'base.py'}.")
    with foreign(
        f"config {path}", RunError, "names and plain values in `config`. Correct it.", fails="cannot be taken over"
    ):
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
