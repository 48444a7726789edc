"""A training run as a user asks for it, and its config."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easydict import EasyDict

from insightface_cakd.errors import RunError, did_you_mean

# Keys whose value is text, also where the config has none yet.
_TEXT = frozenset(
    {
        "rec",
        "output",
        "network",
        "optimizer",
        "device",
        "suffix_run_name",
        "notes",
        "wandb_key",
        "wandb_entity",
        "wandb_project",
    }
)
_SWITCH = {word: True for word in ("true", "yes", "on", "1")} | {word: False for word in ("false", "no", "off", "0")}


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
        auto_resume: continue from a checkpoint if there is one, and begin if not.
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
    auto_resume: bool = False

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
    """Override config keys, in place, given as `key=value`; see `setting_value`."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise RunError(f"--set {setting}: no '='; expected key=value, for example --set num_epoch=5.")
        if key not in cfg:
            known = ", ".join(sorted(cfg))
            raise RunError(f"--set {setting}: the config has no key '{key}'; known: {known}.{did_you_mean(key, cfg)}")
        cfg[key] = setting_value(key, text, cfg[key])
    return cfg


def setting_of(key: str, value: Any) -> str:
    """Return a value of the config as a setting `key=value`.

    Text and paths stay as they are, whatever they look like.
    """
    if isinstance(value, str | Path):
        return f"{key}='{value}'"
    return f"{key}={value!r}"


def setting_value(key: str, text: str, current: Any = None) -> Any:
    """Return what the text of a setting stands for, by the key.

    Text stays text, so that a folder may be called 2024_01 or 1e5; quotes around it are left out, and `none` is None. What is on or off is
    said by true, yes, on or 1, or by false, no, off or 0. Everything else is a Python literal if it can be one.

    Args:
        key: of the config.
        text: behind the `=`.
        current: the value that it replaces.

    Raises:
        RunError: neither on nor off.
    """
    if isinstance(current, bool):
        word = text.lower()
        if word not in _SWITCH:
            raise RunError(f"--set {key}={text}: expected true or false. Correct it.")
        return _SWITCH[word]
    if key in _TEXT or isinstance(current, str):
        if text.lower() == "none":
            return None
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        return text[1:-1] if quoted else text
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    try:
        return ast.literal_eval(text)
    # Also what is too deep, or no text that Python reads.
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
