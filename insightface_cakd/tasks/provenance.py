"""What `run.json` records of how a network came about."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import timm
import torch

from insightface_cakd import __version__
from insightface_cakd.recipe import Recipe
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks.teaching import Teaching


def teaching_facts(name: str, recipe: Recipe, teaching: Teaching) -> dict[str, Any]:
    """Return what is recorded of a recipe and its first teacher.

    Args:
        name: of the recipe.
        recipe: what was run.
        teaching: its teachers, measured where they could be.
    """
    facts: dict[str, Any] = {"recipe_name": name, "recipe": recipe.model_dump()}
    if (teacher := teaching.first) is not None:
        said = {"name": teacher.name, "sha256": teacher.sha256, "accuracy": teaching.accuracy}
        facts["teacher"] = {**said, "licence": recipe.teacher.licence, "sets": teaching.sets}
    return facts


def write_provenance(output: Path, cfg: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    """Write `run.json`.

    Of the config only simple values are recorded, and no key that ends in `_key`.

    Args:
        output: folder of the run.
        cfg: its config.
        more: further facts, such as those of the recipe and of the checkout.
    """
    facts: dict[str, Any] = {
        "insightface_cakd": __version__,
        "config": {
            key: value
            for key, value in sorted(cfg.items())
            # A file that is passed on with the network must not contain the user's wandb_key.
            if isinstance(value, str | int | float | bool | list | tuple) and not key.endswith("_key")
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.cuda.device_count()} CUDA devices",
        "ranks": int(os.environ.get("WORLD_SIZE", "1")),
        **more,
    }
    RunFolder(output).write(facts)
