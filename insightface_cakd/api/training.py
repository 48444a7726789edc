"""A training run from Python."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insightface_cakd.api.recogniser import Recogniser, place_of
from insightface_cakd.recipe.settings import given
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks.job import Job, setting_of
from insightface_cakd.tasks.launch import run


def train(
    config: str | Path,
    recipe: str | Path | None = None,
    *,
    data: str | Path | None = None,
    output: str | Path | None = None,
    teacher: str | Path | RunFolder | Recogniser | None = None,
    changes: Mapping[str, Any] | None = None,
    resume: bool = False,
    host: str | Path | None = None,
    **overrides: Any,
) -> RunFolder:
    """Train a network, with a recipe under a teacher.

    `cakd train` in Python. Under torchrun, each process calls it.

    Args:
        config: a job by name, such as `faces_cnn_tiny`, or the path of a config file.
        recipe: by name, see `recipes`, or path; without one the network learns alone.
        data: folder of the training images; replaces the config's `rec`.
        output: folder of the run; the config's when not given.
        teacher: a file, a run, or a loaded model; replaces the recipe's `teacher.weights`.
        changes: of the recipe, such as `{"losses.cosine.weight": 32}`.
        resume: continue from the checkpoint in the output folder.
        host: an arcface_torch checkout, whose own loop trains; the embedded host when not given.
        overrides: keys of the config, such as `num_epoch=4`; an unknown one is an error.

    Returns:
        The run's folder: `result.accuracy` by verification set, `model`, `config`, `teacher`. `load`, `evaluate` and `export` take it.

    Raises:
        CAKDError: anything wrong with config, recipe, teacher, data or the run itself, in one line.
    """
    more = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in (changes or {}).items()]
    job = Job(
        str(config),
        None if recipe is None else str(recipe),
        given(None if teacher is None else place_of(teacher), more=more),
        [setting_of(key, value) for key, value in overrides.items()],
        None if data is None else Path(data),
        None if output is None else Path(output),
        resume,
        None if host is None else Path(host),
    )
    _, folder = run(job)
    return folder
