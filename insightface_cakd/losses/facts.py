"""Facts of a loss as class attributes, without torch."""

import re
from typing import ClassVar

# What a term can compare on the classes that the head used in a step.
LOGITS = ("logits", "prompted_logits")


class LossFacts:
    """What must be known of a loss before it is built.

    `DistillLoss` is a subclass. For a loss of this package, the catalogue returns such a class without importing torch.

    Attributes:
        name: name of the loss in recipes. A class of this package without a name is no loss by itself.
        reads: which activation a term gives it.
        gathers: whether it compares images of a batch, so that the rows of all ranks must be gathered first.
        same_shape: whether both sides must agree in shape, so that a term may need a projector.
        detaches_teacher: whether the teacher's side is a constant; False if what it comes from learns by this loss.
        needs_labels: whether it compares identities, and so refuses to run without the label of each row.
        zero_at_teacher: whether it is 0, with gradient 0, where the student equals the teacher; False for a likelihood
            or a margin.
        keeps_state: whether it remembers earlier steps in buffers. In eval mode it uses what it remembers and does not change it.
        needs_prototypes: whether it has a method `start(prototypes, hardest)` that must be called before its first use.
        shows: attributes, scalar tensors of the last batch, that are logged beside the value.
        memory: how its memory in a step grows, for `cakd recipes list`, in the letters of its legend; empty if it is of
            the size of the inputs.
        paper: source, for `cakd recipes list` and `check`: "METHOD (where), details".
    """

    name: ClassVar[str] = ""
    reads: ClassVar[str] = "embedding"
    gathers: ClassVar[bool] = False
    same_shape: ClassVar[bool] = True
    detaches_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    zero_at_teacher: ClassVar[bool] = True
    keeps_state: ClassVar[bool] = False
    needs_prototypes: ClassVar[bool] = False
    shows: ClassVar[tuple[str, ...]] = ()
    memory: ClassVar[str] = ""
    paper: ClassVar[str] = ""

    @classmethod
    def title(cls) -> str:
        """Return the name, or the class's own in snake_case."""
        return cls.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()
