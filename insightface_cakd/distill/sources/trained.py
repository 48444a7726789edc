"""Teachers that train with the student."""

from torch import nn

from insightface_cakd.distill.sources.context import Context, Setting
from insightface_cakd.distill.sources.source import Source


class TrainedTeachers(Source):
    """Trains the networks of teachers that learn with the student.

    It offers nothing to terms: it puts these networks among what the run trains, synchronises and saves. Such a teacher learns from the
    terms whose loss does not treat it as a constant.
    """

    name = "teachers"

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return whether a teacher trains."""
        return any(teacher.trains for teacher in setting.teachers.values())

    def build(self, blank: Context) -> nn.Module:
        """Return the networks by the names of their teachers."""
        return nn.ModuleDict(
            {name: teacher.embedder for name, teacher in self.setting.teachers.items() if teacher.trains}
        )
