"""What a distillation run is: a short, strict YAML file read into a `Recipe`."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from insightface_cakd.distill.balance import BalanceSpec, check_balance
from insightface_cakd.distill.centres.spec import HeadSpec, check_head
from insightface_cakd.distill.initial import StudentSpec
from insightface_cakd.distill.schedule import ScheduleSpec
from insightface_cakd.distill.urfm.spec import URFMSpec
from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.base import LOGITS, DistillLoss
from insightface_cakd.recipe_problems import first_problem
from insightface_cakd.shipped import shipped_folder
from insightface_cakd.teachers.spec import TeacherSpec, kind_of_file


class TermSpec(BaseModel):
    """One term of the objective: `weight * loss(student, teacher)`.

    Args:
        loss: a name of `LOSSES`.
        name: what the logs call the term; the loss's name when not given.
        weight: factor of the raw loss, >= 0; 0 leaves the term out.
        schedule: how the weight changes over the run.
        student: module path of the student's tap; the embedding when not given.
        teacher: module path of the teacher's tap; the embedding when not given.
        projector: how the student's activation reaches the teacher's shape; a kind of `build_projector`.
        options: the loss's own constructor arguments; in the file they stand beside the other keys.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    loss: str
    name: str
    weight: float = Field(ge=0, allow_inf_nan=False)
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)
    student: str | None = None
    teacher: str | None = None
    projector: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    def build_loss(self) -> DistillLoss:
        """Return the loss module of this term."""
        return LOSSES[self.loss](**self.options)


class Recipe(BaseModel):
    """A teacher and the terms that tie the student to it.

    Args:
        about: one line for `cakd recipes check`.
        paper: "METHOD (where), details", for `cakd recipes list`; that of the first term when not given.
        teacher: who teaches.
        student: what the student starts from; the host's random weights when not given.
        urfm: the unified receptive fields that its terms compare; only such terms need them.
        head: where the class centres come from; the optimiser learns them when not given.
        balance: keeps the terms as strong at the embedding, beside the margin loss, as it says; the weights alone decide when not given.
        losses: the terms, with different names; at least one, unless there is a `head`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    about: str = ""
    paper: str = ""
    teacher: TeacherSpec
    student: StudentSpec | None = None
    urfm: URFMSpec | None = None
    head: HeadSpec | None = None
    balance: BalanceSpec | None = None
    losses: list[TermSpec] = Field(default_factory=list)

    @property
    def needs_teacher(self) -> bool:
        """Whether a step asks the teacher; its frozen class centres alone need no forward."""
        return any(term.weight > 0 for term in self.losses) or (self.head is not None and self.head.reads_embedding)

    @property
    def needs_network(self) -> bool:
        """Whether the teacher must be a live network: a term looks inside it, or prompts learn in it."""
        taps = any(term.teacher is not None for term in self.losses if term.weight > 0)
        return taps or self.urfm is not None or self.teacher.prompts is not None

    @property
    def needs_logits(self) -> bool:
        """Whether a term reads logits, the student's or the teacher's."""
        return any(LOSSES[term.loss].reads in LOGITS for term in self.losses if term.weight > 0)

    @property
    def needs_centres(self) -> bool:
        """Whether a term or the head needs the teacher's class centres."""
        return self.needs_logits or (self.head is not None and self.head.centres == "teacher")

    @property
    def lacks_init(self) -> bool:
        """Whether the student starts from trained weights that the recipe does not name."""
        return self.student is not None and self.student.weights is None

    @property
    def needs_length(self) -> bool:
        """Whether a term's schedule needs to know how long the run is."""
        return any(term.schedule.needs_length for term in self.losses if term.weight > 0)


def load_recipe(name: str, teacher: str | None = None, centres: Sequence[str] = (), init: str | None = None) -> Recipe:
    """Read a recipe by path, or by the name of a shipped one.

    Args:
        name: path of a YAML file, or a name as `cakd recipes list` shows it.
        teacher: replaces `teacher.weights`; see `parse_recipe`.
        centres: replaces `teacher.centres`, when not empty.
        init: replaces `student.weights`.

    Raises:
        RecipeError: the file does not exist or is not a valid recipe; the line names the key.
    """
    path = find_recipe(name)
    where = f"recipe {path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{where}: not YAML ({' '.join(str(error).split())}); expected keys and values.") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{where}: holds a {type(content).__name__}; expected the keys teacher and losses.")
    return parse_recipe(content, where, teacher, centres, init)


def parse_recipe(
    content: dict[str, Any],
    where: str,
    teacher: str | None = None,
    centres: Sequence[str] = (),
    init: str | None = None,
) -> Recipe:
    """Check a recipe's content key by key.

    Args:
        content: the mapping that the YAML file holds.
        where: what error lines begin with.
        teacher: replaces `teacher.weights`; a folder (a cache of embeddings) or an ONNX file replaces `teacher.network` too.
        centres: replaces `teacher.centres`, when not empty.
        init: replaces `student.weights`.

    Raises:
        RecipeError: an unknown key or loss, a missing or ill-typed value, two terms of one name.
    """
    content = dict(content)
    if isinstance(content.get("losses"), list):
        content["losses"] = [_term(item, f"{where}: losses[{i}]") for i, item in enumerate(content["losses"])]
    given = {"weights": teacher, "centres": list(centres), "network": teacher and kind_of_file(teacher)}
    if isinstance(content.get("teacher"), dict):
        content["teacher"] = content["teacher"] | {key: value for key, value in given.items() if value}
    if init and isinstance(content.get("student") or {}, dict):
        content["student"] = (content.get("student") or {}) | {"weights": init}
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{where}: {first_problem(error, Recipe)}") from error
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    names = [term.name for term in recipe.losses]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"{where}: two terms are called '{twice}'; expected different names. Give one a `name`.")
    for number, term in enumerate(recipe.losses):
        _try_options(term, f"{where}: losses[{number}]")
    _check_parts(recipe, where)
    if recipe.balance is not None:
        check_balance(recipe.losses, where)
    return recipe


def find_recipe(name: str) -> Path:
    """Return the file of a recipe given by path or by shipped name.

    Raises:
        RecipeError: there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = {recipe_name(file): file for file in shipped_recipes()}
    if name in shipped:
        return shipped[name]
    raise RecipeError(
        f"recipe {name}: no such file, and no shipped recipe of that name; shipped: {', '.join(shipped)}."
        f"{did_you_mean(name, shipped)} `cakd recipes list` tells what each one does."
    )


def shipped_recipes() -> list[Path]:
    """Return the recipe files that come with the package, by name; those of a subfolder after those beside it."""
    folder = shipped_folder("recipes")
    return sorted(folder.glob("*.yaml")) + sorted(folder.glob("*/*.yaml"))


def recipe_name(path: Path) -> str:
    """Return the name by which a shipped recipe is found: `cakd`, or `ablations/cakd_no_fpe` for one in a subfolder.

    Args:
        path: one of `shipped_recipes()`; of any other file, the stem.
    """
    folder = shipped_folder("recipes")
    return path.relative_to(folder).with_suffix("").as_posix() if path.is_relative_to(folder) else path.stem


def _term(item: Any, where: str) -> dict[str, Any]:
    """Split a term's flat keys into the term's own and the loss's options."""
    if not isinstance(item, dict) or "loss" not in item:
        raise RecipeError(f"{where} is {item!r}; expected keys and values, `loss` among them. See `cakd recipes list`.")
    loss = item["loss"]
    if not isinstance(loss, str) or loss not in LOSSES:
        known = ", ".join(LOSSES)
        raise RecipeError(f"{where}.loss is '{loss}'; known losses: {known}.{did_you_mean(str(loss), LOSSES)}")
    options = set(inspect.signature(LOSSES[loss].__init__).parameters) - {"self"}
    own = set(TermSpec.model_fields) - {"options"}
    for key in item:
        if key not in own | options:
            known = ", ".join(sorted(own | options))
            hint = did_you_mean(str(key), own | options)
            raise RecipeError(f"{where}.{key} is not a key of {loss}; known: {known}.{hint}")
    term = {key: value for key, value in item.items() if key in own}
    term["options"] = {key: value for key, value in item.items() if key in options}
    if isinstance(term.get("weight"), int) and not isinstance(term["weight"], bool):
        term["weight"] = float(term["weight"])
    return {"name": loss, **term}


def _try_options(term: TermSpec, where: str) -> None:
    """Build a term's loss once, so that an option out of range is found with the recipe and not by a run."""
    try:
        term.build_loss()
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _check_parts(recipe: Recipe, where: str) -> None:
    """Check that terms have the parts that they read, and that prompts have a term to learn from."""
    reads = {LOSSES[term.loss].reads: term.name for term in recipe.losses if term.weight > 0}
    check_head(recipe.head, len(recipe.losses), reads, where)
    fields = next((name for kind, name in reads.items() if kind.startswith("urfm_")), None)
    if fields is not None and recipe.urfm is None:
        raise RecipeError(
            f"{where}: term '{fields}' reads unified receptive fields, and the recipe has none; expected a part `urfm`. Add `urfm:` with "
            "the student's tap."
        )
    if recipe.urfm is not None and fields is None:
        raise RecipeError(
            f"{where}: urfm is given, and no term reads it; expected a term such as urfm_feature. Add one."
        )
    anchor = next((name for kind, name in reads.items() if kind.startswith("prompted")), None)
    if anchor is not None and recipe.teacher.prompts is None:
        raise RecipeError(
            f"{where}: term '{anchor}' reads a teacher with prompts, and this one has none; expected teacher.prompts. Add them or remove "
            "the term."
        )
    if recipe.teacher.prompts is not None and anchor is None and not {"urfm_attention", "urfm_fields"} & reads.keys():
        raise RecipeError(
            f"{where}: teacher.prompts learn from no term; expected urfm_attention, urfm_feature, prompt_anchor or prompt_margin. Add one, "
            "or remove the prompts."
        )
