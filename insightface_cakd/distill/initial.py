"""The initial weights of a student."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RecipeError, RunError, TeacherError
from insightface_cakd.networks.key_prefix import under_prefix
from insightface_cakd.networks.timm_networks import TimmFace, face_state, has_face_head
from insightface_cakd.networks.weights import Advice, load_strictly, read_state, weights_in
from insightface_cakd.recipe.student import StudentSpec

_FIX = "Pass --init FILE, or set student.weights."
# A width that no task has.
_OTHER_WIDTH = 7
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


def load_initial(backbone: nn.Module, weights: str, of_width: Callable[[int], nn.Module] | None = None) -> None:
    """Load a student's initial weights strictly.

    The file has a bare state dict, or is a checkpoint that holds one; a run's folder stands for its
    `model.pt`. A `timm:` network also takes timm's own weights of its
    body, without its classifier and for its image size; its embedding head stays as it is. A file that does not exist, is damaged, or is
    of another network or width is a RunError, and nothing was loaded.

    Args:
        backbone: the student.
        weights: the file.
        of_width: builds the same network with another width of its answer. Given, a file of another width keeps its last layer to itself:
            the student's own stays as it is, and every other tensor is loaded, none missing and none left over.
    """
    try:
        path = weights_in(weights, "student weights", _FIX)
        where = f"student weights {path}"
        state = read_state(path, where)
        if isinstance(backbone, TimmFace) and not has_face_head(state):
            state = face_state(backbone, state, TeacherError, where)
        if of_width is not None:
            state = _with_own_answer(backbone, under_prefix(state, backbone.state_dict(), where)[1], of_width)
        load_strictly(backbone, state, where, _ADVICE)
    except TeacherError as error:
        raise RunError(str(error)) from error


def _with_own_answer(
    backbone: nn.Module, state: dict[str, Tensor], of_width: Callable[[int], nn.Module]
) -> dict[str, Tensor]:
    """Return a state whose last layer is the backbone's, if the file's has another width.

    The last layer is what has another shape in a network of another width, with the rest of its modules, such as counters.
    """
    own = backbone.state_dict()
    # Building draws random numbers, which the run must not miss.
    with torch.random.fork_rng(devices=[]):
        other = of_width(_OTHER_WIDTH).state_dict()
    layers = {key.rpartition(".")[0] for key in own if own[key].shape != other[key].shape}
    last = [key for key in own if key.rpartition(".")[0] in layers]
    there = all(key in state for key in last)
    same = there and all(state[key].shape == own[key].shape for key in last)
    return state if same or not there else {**state, **{key: own[key] for key in last}}
