"""The keys of a recipe, and what they ask for."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from insightface_cakd.errors import RecipeError
from insightface_cakd.losses import LOGITS, LOSSES, LossFacts, facts_of
from insightface_cakd.losses.options import by_todays_names, check_options
from insightface_cakd.recipe.head import HeadSpec
from insightface_cakd.recipe.schedule import ScheduleSpec
from insightface_cakd.recipe.student import StudentSpec
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.recipe.urfm import URFMSpec

if TYPE_CHECKING:
    from insightface_cakd.losses import DistillLoss


class TermSpec(BaseModel):
    """One term of the objective: `weight * loss(student, teacher)`.

    Args:
        loss: a name of `cakd recipes list`, or `package.module:Class`.
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

    @model_validator(mode="before")
    @classmethod
    def _by_todays_names(cls, given: Any) -> Any:
        """Give options their names of today: older recipes, and what older runs saved, have others."""
        if isinstance(given, dict) and isinstance(given.get("loss"), str) and isinstance(given.get("options"), dict):
            return given | {"options": by_todays_names(facts_of(given["loss"]).__init__, given["options"])}
        return given

    @property
    def facts(self) -> type[LossFacts]:
        """What the loss says of itself."""
        return facts_of(self.loss)

    def check_options(self) -> None:
        """Check the loss's options without building it.

        Raises:
            RecipeError: the loss cannot have them.
        """
        check_options(self.facts.__init__, self.options, self.facts.title())

    def build_loss(self) -> "DistillLoss":
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
        losses: the terms, with different names; at least one, unless there is a `head`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    about: str = ""
    paper: str = ""
    teacher: TeacherSpec
    student: StudentSpec | None = None
    urfm: URFMSpec | None = None
    head: HeadSpec | None = None
    losses: list[TermSpec] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _without_balance(cls, given: Any) -> Any:
        """Read what runs before 0.2 saved: each has a part `balance`, empty in nearly all."""
        if isinstance(given, dict) and "balance" in given:
            if given["balance"] is not None:
                raise RecipeError(
                    "balance is not a part any more: no measured run gained by it; expected weights and schedules. Remove it."
                )
            return {key: value for key, value in given.items() if key != "balance"}
        return given

    @property
    def needs_teacher(self) -> bool:
        """Whether a step asks the teacher.

        Its frozen class centres alone need no forward.
        """
        return any(term.weight > 0 for term in self.losses) or (self.head is not None and self.head.reads_embedding)

    @property
    def needs_network(self) -> bool:
        """Whether the teacher must be a live network.

        A term looks inside it, or prompts learn in it.
        """
        taps = any(term.teacher is not None for term in self.losses if term.weight > 0)
        return taps or self.urfm is not None or self.teacher.prompts is not None

    @property
    def needs_logits(self) -> bool:
        """Whether a term reads logits, the student's or the teacher's."""
        return any(term.facts.reads in LOGITS for term in self.losses if term.weight > 0)

    @property
    def needs_prototypes(self) -> str | None:
        """Name of the first term that needs prototypes."""
        return next((term.name for term in self.losses if term.weight > 0 and term.facts.needs_prototypes), None)

    @property
    def needs_centres(self) -> bool:
        """Whether a term or the head needs the teacher's class centres."""
        return self.needs_logits or (self.head is not None and self.head.centres == "teacher")

    @property
    def lacks_init(self) -> bool:
        """Whether the student's trained weights are still to be named.

        It starts from such, and the recipe does not name them.
        """
        return self.student is not None and self.student.weights is None

    @property
    def needs_length(self) -> bool:
        """Whether a term's schedule needs to know how long the run is."""
        return any(term.schedule.needs_length for term in self.losses if term.weight > 0)
