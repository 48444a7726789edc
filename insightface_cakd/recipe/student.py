"""The part of a recipe about its student."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class StageSpec(BaseModel):
    """A run before the recipe's own, whose weights it hands on.

    Args:
        name: of its folder, `OUTPUT/stages/NAME`.
        recipe: by name or path; the student alone when not given.
        settings: overrides of the config, for this stage only.
        recipe_settings: overrides of the stage's recipe, with dots as the file nests.
        data: its training images: a folder in that of the recipe's own run, or a path; the same folder when not given.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    recipe: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    recipe_settings: dict[str, Any] = Field(default_factory=dict)
    data: str | None = None


class LoraSpec(BaseModel):
    """Low-rank updates of a frozen student.

    Args:
        rank: of the updates, at most 4096: more than a layer is wide is no low rank.
        alpha: an update is (alpha / rank) B A.
        targets: linear layers that get one, by the end of their module path.
        trains: modules that train as they are, by path; the student's last child with weights when not given.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    rank: int = Field(default=8, ge=1, le=4096)
    alpha: float = Field(default=16, gt=0)
    targets: list[str] = Field(default=["qkv", "proj"], min_length=1)
    trains: list[str] | None = None


class StudentSpec(BaseModel):
    """The student's start.

    Args:
        weights: file with the weights it starts from: a run's `model.pt`, or a checkpoint; usually passed as `--init`. A resumed run has
            its own and does not read it.
        stages: runs that make these weights, one after another; not run where `weights` are given.
        lora: trains low-rank updates in place of the weights.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    weights: str | None = None
    stages: list[StageSpec] = Field(default_factory=list)
    lora: LoraSpec | None = None
