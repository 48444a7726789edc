"""What a finished run says about itself, in words."""

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from insightface_cakd.errors import EvaluationError

Facts = dict[str, str]
CONFIG_KEYS = ("network", "embedding_size", "num_classes", "num_epoch", "batch_size", "optimizer", "lr", "seed", "fp16")


def read_facts(folder: Path) -> Facts:
    """Return the facts of a run's `run.json` and `result.json`, one line each; nothing for a file that is not there.

    Args:
        folder: output folder of the run.

    Raises:
        EvaluationError: a file holds no JSON object.
    """
    run, result = read_json(folder / "run.json"), read_json(folder / "result.json")
    facts = {key: str(run["config"][key]) for key in CONFIG_KEYS if key in run.get("config", {})}
    facts |= dict(_taught(run))
    facts |= {key: f"{result[key]:.0f}" for key in ("steps", "seconds", "images_per_second") if key in result}
    facts |= {f"accuracy, {name}": f"{100 * value:.2f} %" for name, value in result.get("accuracy", {}).items()}
    if "insightface_cakd" in run:
        versions = {"insightface_cakd": run["insightface_cakd"], **run.get("versions", {})}
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {key.replace("_", " ") if key != "versions" else key: value for key, value in facts.items()}


def read_recipe(folder: Path) -> str | None:
    """Return the resolved recipe of a distilled run as indented JSON, None for a run without a teacher.

    Raises:
        EvaluationError: `run.json` holds no JSON object.
    """
    recipe = read_json(folder / "run.json").get("recipe")
    return None if recipe is None else json.dumps(recipe, indent=2)


def describe_machine() -> str:
    """Return one line about this machine: system, processor cores, GPUs, Python and torch."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    parts = [f"{platform.system()} {platform.machine()}", f"{os.cpu_count()} CPU cores", *gpus]
    return ", ".join([*parts, f"Python {platform.python_version()}", f"torch {torch.__version__}"])


def _taught(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield who taught, and by which terms."""
    teacher = run.get("teacher")
    if teacher is None:
        return
    yield "teacher", str(teacher["name"])
    yield "teacher sha256", str(teacher["sha256"] or "not a file")
    if teacher["accuracy"] is not None:
        yield "teacher accuracy before step 1", f"{100 * teacher['accuracy']:.2f} %"
    yield "teacher licence", str(teacher["licence"] or "not stated")
    yield "terms", ", ".join(f"{term['weight']:g} x {term['name']}" for term in run["recipe"]["losses"])


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, an empty one where there is no file.

    Args:
        path: the file.

    Raises:
        EvaluationError: it holds no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EvaluationError(f"{path}: not JSON ({error}); expected what `cakd train` wrote. Train again.") from error
    if not isinstance(content, dict):
        raise EvaluationError(f"{path}: holds a {type(content).__name__}; expected an object. Train again.")
    return content
