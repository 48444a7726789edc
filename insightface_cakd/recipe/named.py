"""A part of a recipe that names a class, with its options."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NamedSpec(BaseModel):
    """The name of a class of ours or `package.module:Class`, with options.

    In the file, the options are keys beside `kind`; a class without options can be given as its name alone.

    Args:
        kind: the name.
        options: by name; in the file they are keys beside `kind`.
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
    """The views through which student and teacher see an image, in order.

    Those of `both` are drawn once for the two, and applied before their own.

    Args:
        both: what student and teachers see alike.
        student: what the student sees, on top of `both`.
        teacher: what every teacher sees, on top of `both`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    both: list[NamedSpec] = Field(default_factory=list)
    student: list[NamedSpec] = Field(default_factory=list)
    teacher: list[NamedSpec] = Field(default_factory=list)
