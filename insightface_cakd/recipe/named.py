"""A part of a recipe that names a class: one of the package's own, or `package.module:Class`, with its options."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NamedSpec(BaseModel):
    """A class by name, and its options; in the file the options stand beside `kind`, and a name alone will do.

    Args:
        kind: a name that the package knows, or `package.module:Class`.
        options: of its constructor.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _options_beside_the_kind(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"kind": given}
        if isinstance(given, dict) and "kind" in given and not set(given) <= {"kind", "options"}:
            return {"kind": given["kind"], "options": {k: v for k, v in given.items() if k != "kind"}}
        return given


class ViewsSpec(BaseModel):
    """What student and teacher see of an image: views, applied in their order.

    Args:
        both: what both sides see alike, before their own views.
        student: what the student sees.
        teacher: what every teacher sees.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    both: list[NamedSpec] = Field(default_factory=list)
    student: list[NamedSpec] = Field(default_factory=list)
    teacher: list[NamedSpec] = Field(default_factory=list)

    @property
    def drawn_for_teacher(self) -> bool:
        """Whether the teacher sees anything but the image of the data set."""
        return bool(self.both or self.teacher)
