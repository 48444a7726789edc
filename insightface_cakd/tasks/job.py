"""What one training run is to do, as a user says it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """The options of a `cakd train`; `cakd doctor` and `cakd compare` take the same.

    Args:
        config: a job of the host by name, or a path; only a doctor may be asked without one.
        distill: recipe by name or path; None trains without a teacher.
        recipe_settings: `KEY=VALUE` changes to the recipe.
        settings: `key=value` overrides of the config.
        data: folder of the training data; replaces the config's `rec`.
        output: folder of the run; replaces the config's `output`.
        resume: go on from the checkpoint in the output folder.
        host: an arcface_torch checkout, any folder of its clone; None trains on the embedded host.
        fixes: fixes of the checkout that change results and are wanted.
        no_fixes: fixes of the checkout to leave out.
    """

    config: str | None
    distill: str | None = None
    recipe_settings: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    data: Path | None = None
    output: Path | None = None
    resume: bool = False
    host: Path | None = None
    fixes: tuple[str, ...] = ()
    no_fixes: tuple[str, ...] = ()
