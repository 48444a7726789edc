"""The part of a recipe about its student."""

from pydantic import BaseModel, ConfigDict


class StudentSpec(BaseModel):
    """The student's start.

    Args:
        weights: file with the weights it starts from: a run's `model.pt`, or a checkpoint; usually passed as `--init`. A resumed run has
            its own and does not read it.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    weights: str | None = None
