"""Whether the parts of a recipe fit each other."""

from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe.head import check_head
from insightface_cakd.recipe.spec import Recipe


def check_parts(recipe: Recipe, where: str) -> None:
    """Check that terms and prompts have the parts they need.

    Terms read parts; prompts learn from a term.

    Args:
        recipe: valid key by key.
        where: what error lines begin with.

    Raises:
        RecipeError: a part is missing, or read by nothing.
    """
    reads = {term.facts.reads: term.name for term in recipe.losses if term.weight > 0}
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
