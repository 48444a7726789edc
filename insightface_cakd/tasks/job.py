"""A training run as a user asks for it, and its config."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easydict import EasyDict

from insightface_cakd.errors import RunError, did_you_mean


@dataclass(frozen=True)
class Job:
    """The options of a `cakd train`.

    `cakd doctor` and `cakd compare` take the same.

    Args:
        config: a job of the host by name, or a path; only `cakd doctor` may leave it out.
        distill: recipe by name or path; None trains without a teacher.
        recipe_settings: `KEY=VALUE` changes to the recipe.
        settings: `key=value` overrides of the config.
        data: folder of the training data; replaces the config's `rec`.
        output: folder of the run; replaces the config's `output`.
        resume: continue from the checkpoint in the output folder.
        host: an arcface_torch checkout, any folder of its clone; None trains on the embedded host.
        fixes: fixes of the checkout that change results and are wanted.
        no_fixes: fixes of the checkout to leave out.
    """

    config: str | None
    distill: str | None = None
    recipe_settings: Sequence[str] = ()
    settings: Sequence[str] = ()
    data: Path | None = None
    output: Path | None = None
    resume: bool = False
    host: Path | None = None
    fixes: Sequence[str] = ()
    no_fixes: Sequence[str] = ()

    def problems(self) -> Iterator[str]:
        """Yield an error line for each option without the one it needs."""
        if self.host is None and (self.fixes or self.no_fixes):
            yield "--fix, --no-fix: given without --host; the embedded host needs no fixes. Add --host DIR, or leave them out."
        if self.distill is None and self.recipe_settings:
            said = ", ".join(self.recipe_settings)
            yield f"{said}: given without --distill; expected a recipe. Add --distill RECIPE."


def configured(job: Job, get_config: Callable[[str], EasyDict]) -> EasyDict:
    """Return a job's config with everything in it that the job replaces."""
    cfg = apply_settings(get_config(str(job.config)), job.settings)
    if job.data is not None:
        cfg.rec = str(job.data)
    if job.output is not None:
        cfg.output = str(job.output)
    cfg.resume = cfg.resume or job.resume
    return cfg


def apply_settings(cfg: EasyDict, settings: Iterable[str]) -> EasyDict:
    """Override config keys, in place, given as `key=value`: Python literals, else text."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise RunError(f"--set {setting}: no '='; expected key=value, for example --set num_epoch=5.")
        if key not in cfg:
            known = ", ".join(sorted(cfg))
            raise RunError(f"--set {setting}: the config has no key '{key}'; known: {known}.{did_you_mean(key, cfg)}")
        cfg[key] = literal(text)
    return cfg


def literal(text: str) -> Any:
    """Return what a setting's text stands for: a Python literal, else itself."""
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
