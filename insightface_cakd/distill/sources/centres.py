"""Class centres of the student's head that come from the teacher."""

from typing import Any

from torch import Tensor

from insightface_cakd.distill.centres import CentreRule, build_rule
from insightface_cakd.distill.sources.source import Setting, Source


class Centres(Source):
    """Sets the head's class centres by the recipe's part `head`.

    It offers nothing to terms.

    Args:
        setting: what the source is made from; the recipe has a part `head`.

    Raises:
        RecipeError: the centres are the teacher's, and the recipe names no file of them.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        spec = setting.recipe.head
        assert spec is not None
        centres = setting.load_centres() if spec.centres == "teacher" else None
        self.rule: CentreRule = build_rule(spec, centres, setting.teacher.embedding_size)

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return whether the recipe has a part `head`.

        Args:
            setting: what the source would be made from.
        """
        return setting.recipe.head is not None

    def check(self, width: int, classes: int) -> None:
        """Check that student, teacher and head fit the rule."""
        self.rule.check(width, classes)

    def begin(self, head: Any, classes: int) -> None:
        """Let the rule take over the head."""
        self.rule.begin(head, classes)

    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Let the rule update the head; return what is to be logged."""
        first = f"{self.setting.first}.embedding"
        said = {"teacher.embedding": features[first]} if first in features else {}
        return self.rule.before_loss(head, {**features, **said}, labels)

    def check_state(self, head: Any, state: dict[str, Any]) -> None:
        """Refuse a checkpoint with other centres than the rule's."""
        self.rule.check_state(head, state)
