"""The keys of a recipe, and what they require."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from insightface_cakd.errors import RecipeError
from insightface_cakd.losses import LOSSES, LossFacts, facts_of
from insightface_cakd.losses.options import by_todays_names, check_options
from insightface_cakd.recipe.ensemble import EnsembleSpec
from insightface_cakd.recipe.head import HeadSpec
from insightface_cakd.recipe.named import NamedSpec, ViewsSpec
from insightface_cakd.recipe.readings import reading
from insightface_cakd.recipe.schedule import ScheduleSpec
from insightface_cakd.recipe.student import StudentSpec
from insightface_cakd.recipe.teacher import NOBODY, WIDEST, TeacherSpec
from insightface_cakd.recipe.urfm import URFMSpec
from insightface_cakd.runtime.foreign import foreign

if TYPE_CHECKING:
    from insightface_cakd.losses import DistillLoss


class TermSpec(BaseModel):
    """One term of the objective: `weight * loss(student, teacher)`.

    Args:
        loss: by name, or a class of your own as `package.module:Class`.
        name: name of the term in the logs and in checkpoints, without dots; the loss's name when not given.
        weight: factor of the raw loss, >= 0; 0 leaves the term out.
        schedule: how the weight changes over the run; it stays when not given.
        student: module path of the student's tap; the embedding when not given.
        teacher: module path of the teacher's tap; the embedding when not given.
        projector: how the student's activation gets the teacher's shape; a kind of `build_projector`.
        reads: what the loss compares, for example what a source of the recipe offers; the default of the loss when not given.
        nested: widths of prefixes of the student's embedding, each compared for itself, or how often the whole width is halved; the term is
            the mean over them.
        whose: name of the teacher that it reads, in a recipe with several; when not given, the ensemble if the recipe has one and the term
            no tap of a teacher, else the first.
        options: the loss's constructor arguments; in the file they are keys of the term.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    loss: str
    name: str
    weight: float = Field(ge=0, allow_inf_nan=False)
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)
    student: str | None = None
    teacher: str | None = None
    projector: str | None = None
    reads: str | None = None
    nested: list[Annotated[int, Field(gt=0, le=WIDEST)]] | Annotated[int, Field(gt=0, le=16)] | None = None
    whose: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _by_todays_names(cls, given: Any) -> Any:
        """Rename options of older recipes and of older runs' saved recipes."""
        if isinstance(given, dict) and isinstance(given.get("loss"), str) and isinstance(given.get("options"), dict):
            return given | {"options": by_todays_names(facts_of(given["loss"]).__init__, given["options"])}
        return given

    @field_validator("name")
    @classmethod
    def _finds_modules(cls, name: str) -> str:
        """Refuse a name that no module of torch can have."""
        if not name or "." in name or not name.isprintable():
            raise ValueError("expected a name of printable letters without dots")
        return name

    @property
    def facts(self) -> type[LossFacts]:
        """Facts of the loss, see `LossFacts`."""
        return facts_of(self.loss)

    def check_options(self) -> None:
        """Check the loss's options without building it."""
        check_options(self.facts.__init__, self.options, self.facts.title())

    @property
    def reading(self) -> str:
        """Name of what the term reads."""
        return self.reads or self.facts.reads

    def build_loss(self) -> "DistillLoss":
        """Return the loss module of this term."""
        kind = LOSSES[self.loss]
        with foreign(
            f"term '{self.name}': loss {self.loss}", RecipeError, "it to be made of these options. Correct it.", of=kind
        ):
            return kind(**self.options)


class Recipe(BaseModel):
    """A teacher and the terms that tie the student to it.

    Args:
        about: one line for `cakd recipes check`.
        paper: "METHOD (where), details", for `cakd recipes list`; that of the first term when not given.
        task: task of the run; identification of people when not given.
        teacher: the teacher; with several, the first of them. A task without terms needs none.
        teachers: several teachers by name.
        ensemble: makes one embedding of all teachers', which terms and `head.centres: average` read.
        student: weights that the student starts from; the host's random weights when not given.
        urfm: unified receptive fields, for terms that compare them.
        views: how student and teacher see an image; unchanged when not given.
        sources: sources of what terms read, in addition to what every run offers.
        head: where the class centres come from; the optimiser learns them when not given.
        losses: the terms, with different names; at least one, unless there is a `head`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    about: str = ""
    paper: str = ""
    task: NamedSpec = NamedSpec(kind="identification")
    teacher: TeacherSpec
    teachers: dict[str, TeacherSpec] = Field(default_factory=dict)
    ensemble: EnsembleSpec | None = None
    student: StudentSpec | None = None
    urfm: URFMSpec | None = None
    views: ViewsSpec = Field(default_factory=ViewsSpec)
    sources: list[NamedSpec] = Field(default_factory=list)
    head: HeadSpec | None = None
    losses: list[TermSpec] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _first_teacher(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        several = given.get("teachers")
        if "teacher" not in given and not several and not given.get("losses") and "task" in given:
            return given | {"teacher": {"network": NOBODY}}
        if not several or not isinstance(several, dict):
            return given
        first = next(iter(several.values()))
        if "teacher" in given and given["teacher"] != first:
            raise RecipeError(
                "teacher and teachers are both given; expected one of them. Put all of them under teachers."
            )
        return given | {"teacher": first}

    @model_validator(mode="before")
    @classmethod
    def _without_balance(cls, given: Any) -> Any:
        """Remove an empty part `balance`, which runs before 0.2 saved; refuse others."""
        if isinstance(given, dict) and "balance" in given:
            if given["balance"] is not None:
                raise RecipeError(
                    "balance is not a part any more: no measured run gained by it; expected weights and schedules. Remove it."
                )
            return {key: value for key, value in given.items() if key != "balance"}
        return given

    @model_validator(mode="after")
    def _one_first_teacher(self) -> "Recipe":
        """Make `teacher` the first of `teachers`, so that both are saved alike."""
        if self.teachers:
            self.teachers[next(iter(self.teachers))] = self.teacher
        return self

    @property
    def named_teachers(self) -> dict[str, TeacherSpec]:
        """Every teacher by its name; one alone is called `teacher`."""
        if self.teacher.network == NOBODY:
            return {}
        return self.teachers or {"teacher": self.teacher}

    @property
    def terms(self) -> list[TermSpec]:
        """The losses that take part: those of weight above 0."""
        return [term for term in self.losses if term.weight > 0]

    def reader(self, *, part: str | None = None) -> str | None:
        """Return the name of the first term that reads a part.

        Args:
            part: None stands for what every run has.
        """
        return next((term.name for term in self.terms if reading(term.reading).part == part), None)

    @property
    def needs_teacher(self) -> bool:
        """Whether a step runs the teacher; frozen class centres need no forward."""
        return bool(self.terms) or (self.head is not None and self.head.reads_embedding)

    @property
    def needs_network(self) -> bool:
        """Whether a term reads the teacher's inner activations, or prompts learn."""
        taps = any(term.teacher is not None for term in self.terms)
        return taps or self.urfm is not None or self.teacher.prompts is not None

    @property
    def needs_logits(self) -> bool:
        """Whether a term reads logits, the student's or the teacher's."""
        return any(reading(term.reading).by_class for term in self.terms)

    @property
    def needs_prototypes(self) -> str | None:
        """Name of the first term that needs prototypes."""
        return next((term.name for term in self.terms if term.facts.needs_prototypes), None)

    @property
    def reads_centres_by_label(self) -> bool:
        """Whether row j of the teacher's centres must be label j's."""
        return self.needs_logits or (self.head is not None and self.head.centres == "teacher")

    @property
    def needs_centres(self) -> bool:
        """Whether a term or the head needs the teacher's class centres."""
        return any(reading(term.reading).centres for term in self.terms) or (
            self.head is not None and self.head.centres == "teacher"
        )

    @property
    def lacks_init(self) -> bool:
        """Whether the recipe neither names nor makes the weights it starts from."""
        return self.student is not None and self.student.weights is None and not self.student.stages

    @property
    def needs_length(self) -> bool:
        """Whether a term's schedule needs to know how long the run is."""
        return any(term.schedule.needs_length for term in self.terms)
