"""The initial weights of a student."""

from torch import nn

from insightface_cakd.errors import RecipeError, RunError, TeacherError
from insightface_cakd.networks.weights import Advice, existing_file, load_strictly, read_state
from insightface_cakd.recipe.student import StudentSpec

_FIX = "Pass --init FILE, or set student.weights."
_ADVICE = Advice(
    shapes="Is the config's embedding_size that of the run that wrote the file?",
    keys="Is the config's network the one that wrote the file?",
)


def check_initial(student: StudentSpec | None) -> None:
    """Check that a recipe with a trained initial student names its file."""
    if student is not None and student.weights is None:
        raise RecipeError(
            f"recipe: the student starts from trained weights, but student.weights is not set; expected the file of a first run. {_FIX}"
        )


def load_initial(backbone: nn.Module, weights: str) -> None:
    """Load a student's initial weights strictly.

    The file has a bare state dict, or is a checkpoint with `state_dict_backbone`. One that does not exist, is damaged, or is of another
    network or width is a RunError, and nothing was loaded.
    """
    try:
        path = existing_file(weights, "student weights", _FIX)
        where = f"student weights {path}"
        load_strictly(backbone, read_state(path, where), where, _ADVICE)
    except TeacherError as error:
        raise RunError(str(error)) from error
