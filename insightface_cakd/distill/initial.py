"""The initial weights of a student."""

from torch import nn

from insightface_cakd.errors import RecipeError, RunError, TeacherError
from insightface_cakd.networks.weights import Advice, existing_file, load_strictly, read_state
from insightface_cakd.recipe.student import StudentSpec

FIX = "Pass --init FILE, or set student.weights."
ADVICE = Advice(
    shapes="Is the config's embedding_size that of the run that wrote the file?",
    keys="Is the config's network the one that wrote the file?",
)


def check_initial(student: StudentSpec | None) -> None:
    """Check that a recipe with a trained initial student names its file.

    Args:
        student: part `student` of the recipe; None where no trained weights are to be loaded.
    """
    if student is not None and student.weights is None:
        raise RecipeError(
            f"recipe: the student starts from trained weights, but student.weights is not set; expected the file of a first run. {FIX}"
        )


def load_initial(backbone: nn.Module, weights: str) -> None:
    """Load a student's initial weights strictly.

    Args:
        weights: file of a bare state dict, or of a checkpoint with `state_dict_backbone`.
    """
    try:
        path = existing_file(weights, "student weights", FIX)
        where = f"student weights {path}"
        load_strictly(backbone, read_state(path, where), where, ADVICE)
    except TeacherError as error:
        raise RunError(str(error)) from error
