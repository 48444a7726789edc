"""Networks small enough for tests, in place of those that a recipe names."""

from insightface_cakd.recipe import Recipe, load_recipe


def with_small_networks(name: str) -> tuple[Recipe, str]:
    """Return a recipe with small teachers, and a small student that fits it."""
    recipe = load_recipe(name)
    for spec in recipe.named_teachers.values():
        # A network of the package's own stays, since no host's has its width.
        spec.network = spec.network if ":" in spec.network else "vit_tiny"
    taps = {part.student for part in (*recipe.losses, *([recipe.urfm] if recipe.urfm else []))}
    student = "mbf" if "conv_sep" in taps else "cnn_tiny"
    if recipe.student is not None and recipe.student.lora is not None:
        student = "vit_tiny"
    elif recipe.task.kind == "periocular":
        student = "ckd_tiny"
    return recipe, student
