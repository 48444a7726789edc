"""The part of a recipe that makes one teacher's answer of several."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from insightface_cakd.errors import RecipeError, did_you_mean

# The name by which terms read it.
ENSEMBLE = "ensemble"
LEAST_FOR_AGREEMENT = 3


class EnsembleSpec(BaseModel):
    """How the embeddings of several teachers become one.

    In the file, a kind without options can be given as its name alone.

    Args:
        kind: `mean`, the same weights for every image; `agreement`, more weight for a teacher that agrees with the others on an image.
        weights: by teacher; 1 for those not named.
        temperature: of the agreement; the smaller, the more the weights differ. 0.1 when not given. With `kind: agreement` only.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["mean", "agreement"]
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)]] = Field(default_factory=dict)
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def check(self) -> "EnsembleSpec":
        """Return the spec, defaults filled in, if its values fit each other."""
        if self.kind == "mean" and self.temperature is not None:
            raise RecipeError(
                "ensemble.temperature: is read with kind: agreement only. Set ensemble.kind, or remove it."
            )
        if self.kind == "agreement" and self.temperature is None:
            self.temperature = 0.1
        return self

    def check_teachers(self, names: list[str]) -> None:
        """Check that the teachers of a recipe suffice.

        Args:
            names: of the recipe's teachers.

        Raises:
            RecipeError: they are too few, a weight is of another, or one has the ensemble's name.
        """
        least = LEAST_FOR_AGREEMENT if self.kind == "agreement" else 2
        if len(names) < least:
            why = " (two agree with each other equally)" if self.kind == "agreement" else ""
            raise RecipeError(
                f"ensemble: kind {self.kind} with {len(names)} teachers; expected at least {least}{why}. Name them under teachers."
            )
        if ENSEMBLE in names:
            raise RecipeError(f"teachers.{ENSEMBLE}: is the name of the ensemble itself; expected another. Rename it.")
        unknown = next((name for name in self.weights if name not in names), None)
        if unknown is not None:
            raise RecipeError(
                f"ensemble.weights.{unknown}: no such teacher; known: {', '.join(names)}.{did_you_mean(unknown, names)}"
            )
