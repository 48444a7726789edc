"""Whether the parts of a recipe fit each other."""

from typing import Any

from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.recipe.ensemble import ENSEMBLE
from insightface_cakd.recipe.named import NamedSpec
from insightface_cakd.recipe.readings import READINGS, reading
from insightface_cakd.recipe.spec import Recipe
from insightface_cakd.recipe.teacher import CACHED
from insightface_cakd.runtime.objects import import_object

IDENTIFICATION = "identification"


def check_parts(recipe: Recipe, where: str) -> None:
    """Check that terms have their parts, and prompts a term."""
    _check_head(recipe, where)
    _check_names(recipe, where)
    _check_ensemble(recipe, where)
    _check_views(recipe, where)
    fields = recipe.reader(part="urfm")
    if fields is not None and recipe.urfm is None:
        raise RecipeError(
            f"{where}: term '{fields}' reads unified receptive fields, and the recipe has none; expected a part `urfm`. Add `urfm:` with "
            "the student's tap."
        )
    if recipe.urfm is not None and fields is None:
        raise RecipeError(
            f"{where}: urfm is given, and no term reads it; expected a term such as urfm_feature. Add one."
        )
    anchor = recipe.reader(part="prompts")
    if anchor is not None and recipe.teacher.prompts is None:
        raise RecipeError(
            f"{where}: term '{anchor}' reads a teacher with prompts, and this one has none; expected teacher.prompts. Add them or remove "
            "the term."
        )
    if recipe.teacher.prompts is not None and not any(reading(term.reading).trains_prompts for term in recipe.terms):
        raise RecipeError(
            f"{where}: teacher.prompts learn from no term; expected urfm_attention, urfm_feature, prompt_anchor or prompt_margin. Add one, "
            "or remove the prompts."
        )


def _check_head(recipe: Recipe, where: str) -> None:
    """Check that there is something to learn, and that the head fits.

    A recipe needs a term, a `head` or `student.lora`, unless its task is another than identification. No term may compare logits if each
    image has its own margin (`head.margin: quality`).
    """
    adapts = recipe.student is not None and recipe.student.lora is not None
    if recipe.head is None and not recipe.losses and not adapts and recipe.task.kind == IDENTIFICATION:
        raise RecipeError(f"{where}: losses is []; expected at least one term, or a part `head`. Add one.")
    term = next((term.name for term in recipe.terms if reading(term.reading).by_class), None)
    if recipe.head is not None and recipe.head.margin != "host" and term is not None:
        raise RecipeError(
            f"{where}: term '{term}' compares logits with the host's margin, and head.margin: {recipe.head.margin} gives each image one of "
            "its own; expected terms that read embeddings or maps. Remove the term, or set head.margin: host."
        )


def _check_names(recipe: Recipe, where: str) -> None:
    """Check that terms read what is offered, and of named teachers."""
    offered = [*READINGS, *(name for source in recipe.sources for name in source_class(source, where).offers)]
    teachers = [*recipe.named_teachers, *([ENSEMBLE] if recipe.ensemble is not None else [])]
    for term in recipe.losses:
        if term.reading not in offered:
            raise RecipeError(
                f"{where}: term '{term.name}' reads {term.reading}, which nothing offers; offered: {', '.join(offered)}."
                f"{did_you_mean(term.reading, offered)} Name the source under `sources`."
            )
        if term.whose is not None and term.whose not in teachers:
            raise RecipeError(
                f"{where}: term '{term.name}' reads teacher {term.whose}; known: {', '.join(teachers)}."
                f"{did_you_mean(term.whose, teachers)}"
            )


def _check_ensemble(recipe: Recipe, where: str) -> None:
    """Check that an ensemble has its teachers, and terms that may read it."""
    if recipe.ensemble is None:
        return
    try:
        recipe.ensemble.check_teachers(list(recipe.named_teachers))
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    tapped = next((term.name for term in recipe.losses if term.whose == ENSEMBLE and term.teacher is not None), None)
    if tapped is not None:
        raise RecipeError(
            f"{where}: term '{tapped}' taps the ensemble, which has an embedding only; expected a teacher's name. Set its `whose`."
        )
    if recipe.needs_prototypes is not None:
        raise RecipeError(
            f"{where}: term '{recipe.needs_prototypes}' needs the prototypes of one teacher, and the recipe has an ensemble; expected no "
            "ensemble beside it. Remove `ensemble`."
        )


def _check_views(recipe: Recipe, where: str) -> None:
    """Check that no view changes the images of a cached teacher."""
    cached = next((name for name, spec in recipe.named_teachers.items() if spec.network == CACHED), None)
    if cached is not None and (recipe.views.both or recipe.views.teacher):
        raise RecipeError(
            f"{where}: {cached} is cached, and its views change the images; expected the images that were cached. Change "
            "the images beforehand with `cakd data augment`, move the views to views.student, or let the network itself teach."
        )


def source_class(spec: NamedSpec, where: str) -> Any:
    """Return a source's class; a run checks its options later."""
    found = import_object(spec.kind, f"{where}: sources", "source")
    offers = getattr(found, "offers", ())
    if not isinstance(offers, list | tuple) or not offers or not all(isinstance(name, str) for name in offers):
        raise RecipeError(
            f"{where}: sources: {spec.kind} offers nothing; expected a class with `offers`, what terms may read. See CONTRIBUTING.md."
        )
    return found
