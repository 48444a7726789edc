"""A teacher that learns with its student."""

from torch import Tensor, nn

from insightface_cakd.teachers.base import Teacher


class TrainedTeacher(Teacher):
    """A network whose weights learn with the student.

    They learn from the terms that do not treat the teacher as a constant. Its embedder is trained, synchronised over
    ranks and saved with the student's method; it is in train mode whenever the student is. A weight that does not
    require a gradient stays frozen.
    """

    @property
    def trains(self) -> bool:
        """True: the whole network learns with the student."""
        return True

    def train(self, mode: bool = True) -> "TrainedTeacher":
        """Switch with the student."""
        self.embedder.train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the answers of a batch, with their graph."""
        return self._embed(images)

    def _placed(self, embedder: nn.Module) -> nn.Module:
        learn = [parameter.requires_grad for parameter in embedder.parameters()]
        placed = super()._placed(embedder)
        for parameter, wanted in zip(placed.parameters(), learn, strict=True):
            parameter.requires_grad_(wanted)
        return placed
