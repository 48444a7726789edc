"""Starts a training run on the embedded host: config, overrides, recipe, teacher, and what the run leaves behind."""

import ast
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import timm
import torch
from easydict import EasyDict

from insightface_cakd import __version__, seam
from insightface_cakd.atomic import write_json
from insightface_cakd.errors import RunError, did_you_mean
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.devices import choose_device
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.recipe import Recipe, load_recipe

PROVENANCE = "run.json"


@dataclass(frozen=True)
class Job:
    """What one `cakd train` does.

    Args:
        config: a job of the embedded host by name, or a path.
        distill: recipe by name or path; None trains without a teacher.
        teacher: replaces the recipe's `teacher.weights`.
        centres: replaces the recipe's `teacher.centres`.
        settings: `key=value` overrides of the config.
        resume: go on from the checkpoint in the output folder.
    """

    config: str
    distill: str | None = None
    teacher: str | None = None
    centres: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    resume: bool = False


def train(job: Job) -> train_v2.RunResult:
    """Run a job to its end.

    Returns:
        What the host measured.

    Raises:
        CAKDError: anything wrong with config, recipe, teacher, data or the run itself, in one line.
    """
    cfg = apply_settings(get_config(job.config), job.settings)
    first = int(os.environ.get("RANK", "0")) == 0
    if job.distill is None:
        result = train_v2.main(cfg, resume=job.resume)
        taught: dict[str, Any] = {}
    else:
        result, taught = distil(job, cfg, first)
    if first:
        write_provenance(Path(cfg.output) / PROVENANCE, cfg, taught)
    return result


def distil(job: Job, cfg: EasyDict, first: bool) -> tuple[train_v2.RunResult, dict[str, Any]]:
    """Train under the recipe's teacher; return the result and what taught it.

    Args:
        job: names the recipe.
        cfg: the run's config.
        first: whether this process logs and measures the teacher.
    """
    recipe = load_recipe(str(job.distill), job.teacher, job.centres)
    find_check_bin(recipe, Path(str(cfg.rec)))
    teacher, accuracy = seam.make_teacher(train_v2, recipe, choose_device(cfg.get("device")), checks=first)
    if accuracy is not None and recipe.teacher.check is not None:
        print(f"teacher {teacher.name}: accuracy {accuracy:.4f} on {Path(recipe.teacher.check.bin).name}", flush=True)
    log_dir = Path(cfg.output) / "tensorboard" / "distill" if first else None
    with seam.installed(train_v2, recipe, teacher, log_dir, cfg.frequent):
        result = train_v2.main(cfg, resume=job.resume)
    said = {"name": teacher.name, "sha256": teacher.sha256, "accuracy": accuracy, "licence": recipe.teacher.licence}
    return result, {"recipe": recipe.model_dump(), "teacher": said}


def apply_settings(cfg: EasyDict, settings: Iterable[str]) -> EasyDict:
    """Override config keys given as `key=value`; values are Python literals, anything else is text.

    Raises:
        RunError: no `=`, or a key that the config does not have.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise RunError(f"--set {setting}: no '='; expected key=value, for example --set num_epoch=5.")
        if key not in cfg:
            known = ", ".join(sorted(cfg))
            raise RunError(f"--set {setting}: the config has no key '{key}'; known: {known}.{did_you_mean(key, cfg)}")
        cfg[key] = _literal(text)
    return cfg


def find_check_bin(recipe: Recipe, data: Path) -> None:
    """Let the recipe's `teacher.check.bin` be the name of a set in the run's data folder."""
    check = recipe.teacher.check
    if check is not None and not Path(check.bin).is_file() and (data / check.bin).is_file():
        check.bin = str(data / check.bin)


def write_provenance(path: Path, cfg: EasyDict, taught: dict[str, Any]) -> None:
    """Save how this network came about: config, versions, and the resolved recipe and teacher's hash if it was taught."""
    facts: dict[str, Any] = {
        "insightface_cakd": __version__,
        "config": {
            key: value
            for key, value in sorted(cfg.items())
            if isinstance(value, str | int | float | bool | list | tuple)
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        **taught,
    }
    write_json(path, facts)


def _literal(text: str) -> Any:
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
