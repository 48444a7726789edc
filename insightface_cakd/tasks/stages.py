"""The runs of a job: its recipe's stages, then its own."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from insightface_cakd.errors import RunError
from insightface_cakd.hosts import generations
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.recipe.student import StageSpec
from insightface_cakd.runtime.run_folder import RUN, RunFolder
from insightface_cakd.tasks.job import Job, setting_value

STAGES = "stages"


@dataclass(frozen=True)
class Stage:
    """A run of a job.

    Args:
        title: how it is announced; empty for a job that is one run.
    """

    job: Job
    title: str = ""


def stages_of(job: Job) -> list[Stage]:
    """Return the runs that remain of a job, in order.

    Stages lie in `OUTPUT/stages/NAME`, and each starts from the last weights of the one before. With `resume`, those that are finished are
    left out, and those that were stopped are resumed. Decided before anything runs, so that all ranks decide alike.

    Raises:
        CAKDError: the recipe or that of a stage is wrong, or there is no output folder to keep the stages in.
    """
    if job.distill is None:
        return [Stage(job)]
    recipe = load_recipe(job.distill, job.recipe_settings)
    stages = [] if recipe.student is None or recipe.student.weights is not None else recipe.student.stages
    output = output_of(job)
    if not stages or (job.resume and output is not None and generations.exists(output)):
        return [Stage(job)]
    if output is None:
        raise RunError(
            f"recipe {job.distill}: has stages, and no folder to keep them in; expected --output DIR. Add it, or pass --init FILE."
        )
    _check_centres(recipe, job.distill)
    folders = [output / STAGES / stage.name for stage in stages]
    before: Sequence[Path | None] = [None, *folders[:-1]]
    found = [
        Stage(_stage_job(job, stage, folder, start), f"stage {number} of {len(stages) + 1}: {stage.name}")
        for number, (stage, folder, start) in enumerate(zip(stages, folders, before, strict=True), start=1)
        if not (job.resume and (folder / RUN).is_file())
    ]
    own = replace(
        job, recipe_settings=(*job.recipe_settings, *given(init=str(RunFolder(folders[-1]).model))), resume=False
    )
    return [*found, Stage(own, f"stage {len(stages) + 1} of {len(stages) + 1}: {Path(job.distill).stem}")]


def decided(job: Job) -> Job:
    """Return a job whose `auto_resume` has become `resume`.

    Decided before anything runs, so that all ranks decide alike.
    """
    output = output_of(job) if job.auto_resume else None
    begun = output is not None and (generations.exists(output) or (output / STAGES).exists())
    return replace(job, resume=job.resume or begun, auto_resume=False)


def output_of(job: Job) -> Path | None:
    """Return the folder of a job's run, None for the config's."""
    return job.output or _folder(job, "output")


def _stage_job(job: Job, stage: StageSpec, folder: Path, before: Path | None) -> Job:
    """Return a stage as a job of its own."""
    settings = (*job.settings, *(f"{key}={value!r}" for key, value in stage.settings.items()))
    made: tuple[str, ...] = ()
    if stage.recipe is not None:
        init = None if before is None else str(RunFolder(before).model)
        own = (f"{key}={json.dumps(value)}" for key, value in stage.recipe_settings.items())
        made = (*_of_teacher(job, load_recipe(stage.recipe)), *given(init=init), *own)
        _check_centres(load_recipe(stage.recipe, made), stage.recipe)
    elif before is not None:
        raise RunError(
            f"recipe {job.distill}: student.stages: {stage.name} follows another and has no recipe; expected one, whose student starts "
            "from the weights before. Name a recipe."
        )
    return replace(
        job,
        distill=stage.recipe,
        recipe_settings=made,
        settings=settings,
        data=_data(job, stage),
        output=folder,
        resume=job.resume and generations.exists(folder),
    )


def _check_centres(recipe: Recipe, name: str) -> None:
    """Refuse missing class centres before the first stage, not after hours."""
    if recipe.needs_centres and not recipe.teacher.centres:
        raise RunError(
            f"recipe {name}: needs the teacher's class centres, but teacher.centres is empty; expected the files with the teacher's head, "
            "in rank order. Pass --centres FILE."
        )


def _of_teacher(job: Job, recipe: Recipe) -> Iterator[str]:
    """Yield the settings of a job's teacher that a stage's recipe reads."""
    reads = {"centres": recipe.needs_centres, "prototypes": recipe.needs_prototypes is not None}
    for setting in job.recipe_settings:
        part, *keys = setting.partition("=")[0].split(".")
        if part in ("teacher", "teachers") and recipe.needs_teacher and reads.get(keys[-1] if keys else "", True):
            yield setting


def _data(job: Job, stage: StageSpec) -> Path | None:
    """Return a stage's folder of training images, None for the config's."""
    if stage.data is None:
        return job.data
    whole = job.data or _folder(job, "rec")
    folder = Path(stage.data) if whole is None else whole / stage.data
    if not folder.is_dir():
        raise RunError(
            f"recipe {job.distill}: student.stages: {stage.name}: {folder} is no folder; expected the training images of this stage. Put "
            f"them there, or pass --recipe-set student.stages.{stage.name}.data=DIR."
        )
    return folder


def _folder(job: Job, key: str) -> Path | None:
    """Return the folder that a job's settings give a key of the config."""
    given = [text for one, _, text in (setting.partition("=") for setting in job.settings) if one == key]
    return Path(str(setting_value(key, given[-1]))) if given else None
