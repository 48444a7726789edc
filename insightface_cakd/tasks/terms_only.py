"""The head of a task without a loss of its own."""

from typing import Any

from torch import Tensor, nn

from insightface_cakd.distill.sources import Setting
from insightface_cakd.errors import RecipeError


class TermsOnly(nn.Module):
    """Adds nothing to the terms; constructed like any head."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, answer: Tensor, target: Tensor) -> Tensor:
        """Return 0, with a gradient of 0 to the embedding (B, D)."""
        return answer.float().sum() * 0


def require_teaching(setting: Setting, task: str) -> None:
    """Refuse a run without a teacher that teaches.

    Args:
        setting: of the run.
        task: its name.

    Raises:
        RecipeError: there is no teacher, or no term that needs one.
    """
    if not setting.teachers or not setting.recipe.needs_teacher:
        raise RecipeError(
            f"recipe: task {task} without a teacher or a term learns nothing; expected both. Add a teacher, and for example "
            "losses: [{loss: cosine, weight: 64}]."
        )
