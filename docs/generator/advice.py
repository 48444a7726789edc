"""When to use a method, from what its recipes read."""

from insightface_cakd.recipe import Recipe


def advice(recipes: dict[str, Recipe]) -> str:
    """Return a list of what must be at hand, and what must be known before."""
    every = list(recipes.values())
    terms = [term for recipe in every for term in recipe.losses]
    lines = [_teacher(every)]
    if terms and all(not term.facts.same_shape or term.projector for term in terms):
        lines.append("The student's embedding may have another width than the teacher's.")
    if any(term.facts.needs_labels for term in terms):
        lines.append("It compares pictures of one person: where a batch holds few of them, it has little to say.")
    if any(term.facts.gathers for term in terms):
        lines.append("It compares the images of a batch, of all ranks together: small batches hold few pairs.")
    if any(recipe.needs_logits for recipe in every):
        lines.append(
            "It reads class logits: the teacher's head must be of the same people in the same order, and time grows with the classes."
        )
    if any(recipe.head is not None for recipe in every):
        lines.append(
            "It takes the place of the head's own class centres or margin; with the teacher's centres, the student's embedding is as wide "
            "as the teacher's."
        )
    if any(recipe.teacher.prompts is not None for recipe in every):
        lines.append("The teacher is a Transformer whose prompts learn too: a step costs the teacher's backward pass.")
    return "\n".join(f"* {line}" for line in lines)


def _teacher(every: list[Recipe]) -> str:
    if all(not recipe.needs_teacher for recipe in every):
        return "No teacher runs in the loop."
    inside = [recipe for recipe in every if recipe.needs_network]
    if not inside:
        return "Any teacher that gives an embedding, ONNX files and cached embeddings included."
    some = "Some of its recipes read" if len(inside) < len(every) else "It reads"
    return f"{some} activations inside the teacher: a network in PyTorch whose modules can be named, no ONNX file and no cache."
