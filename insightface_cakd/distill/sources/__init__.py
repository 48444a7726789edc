"""Sources: what the terms read, one file per source."""

from collections.abc import Mapping
from typing import Any

from insightface_cakd.distill.sources.activations import Activations
from insightface_cakd.distill.sources.centre_logits import CentreLogits
from insightface_cakd.distill.sources.centres import RULES
from insightface_cakd.distill.sources.context import Batch, Context, Seen, Setting
from insightface_cakd.distill.sources.fields import ReceptiveFields
from insightface_cakd.distill.sources.logits import Logits
from insightface_cakd.distill.sources.lora import Lora
from insightface_cakd.distill.sources.prompts import Prompts
from insightface_cakd.distill.sources.source import Source, asking
from insightface_cakd.distill.sources.trained import TrainedTeachers
from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.named import NamedSpec
from insightface_cakd.recipe.parts import source_class
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.teachers import Teacher

# Sources are built in this order, which is also that of their parameters in the optimiser and in checkpoints.
SOURCES: tuple[type[Source], ...] = (
    Activations,
    ReceptiveFields,
    Prompts,
    Logits,
    CentreLogits,
    *RULES,
    TrainedTeachers,
    Lora,
)

__all__ = ["SOURCES", "Batch", "Context", "Seen", "Setting", "Source", "asking", "build_sources"]


def build_sources(recipe: Recipe, teachers: Mapping[str, Teacher]) -> list[Source]:
    """Return the sources of a run.

    Those of the package that take part come first, then those that the recipe names.
    """
    own = [kind(made) for kind in SOURCES if kind.takes_part(made := _setting(recipe, teachers, kind))]
    named = [(_checked(spec), spec.options) for spec in recipe.sources]
    return own + [_made(kind, _setting(recipe, teachers, kind, options)) for kind, options in named]


def _made(kind: type[Source], setting: Setting) -> Source:
    """Return a source of a class of the user's."""
    with foreign(f"source {kind.__name__}", RecipeError, "it to be made of its options. Correct it.", of=kind):
        return kind(setting)


def _setting(
    recipe: Recipe, teachers: Mapping[str, Teacher], kind: type[Source], options: Mapping[str, Any] | None = None
) -> Setting:
    terms = [term for term in recipe.terms if term.reading in kind.offers]
    return Setting(recipe, teachers, terms, options or {})


def _checked(spec: NamedSpec) -> type[Source]:
    kind = source_class(spec, "recipe")
    if not (isinstance(kind, type) and issubclass(kind, Source)):
        raise RecipeError(
            f"recipe: sources: {spec.kind} is no Source; expected a subclass of insightface_cakd.distill.sources.Source. "
            "Derive it from that."
        )
    return kind
