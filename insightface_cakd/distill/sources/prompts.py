"""Prompts: parameters that learn inside a frozen teacher."""

from collections.abc import Mapping

from torch import Tensor, nn

from insightface_cakd.distill.sources.context import Context, Setting
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.recipe import TermSpec


class Prompts(Source):
    """Offers `prompted`: a teacher's embedding with its prompts and without."""

    name = "prompts"
    offers = ("prompted",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.reads_plain = bool(setting.terms)

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return whether a teacher has prompts or a term compares them."""
        return bool(setting.terms) or any(teacher.prompts is not None for teacher in setting.teachers.values())

    def build(self, blank: Context) -> nn.Module | None:
        """Return the prompts of the first teacher."""
        return self.setting.teacher.prompts

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the embedding with prompts and the one without."""
        name = self.whose(term)
        return features[f"{name}.embedding"], features[f"{name}.plain"]
