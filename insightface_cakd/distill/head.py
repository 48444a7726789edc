"""The host's class-sharded head, plus the distillation terms of the recipe."""

from typing import Any

from torch import Tensor, nn

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.logits import add_logits, teacher_rows
from insightface_cakd.distill.prototypes import check_classes
from insightface_cakd.distill.state import PREFIX, load_method_state, method_state
from insightface_cakd.distill.student import Outputs
from insightface_cakd.losses import LOGITS, LOSSES


def distilled_head(host_head: type[nn.Module], distillation: Distillation) -> type[nn.Module]:
    """Return a subclass of the host's head that adds the terms and carries their state.

    The class keeps the host's constructor, which also checks the teacher's centres and prototypes, and lets the recipe's rule take the head
    over. Its `state_dict` holds, besides the host's, the step, projectors and buffers of the method under `cakd.`; a plain head's state
    loads too, and then the method starts afresh.

    Args:
        host_head: `PartialFC_V2` of the host.
        distillation: shared with the student.
    """

    logit_terms = [term for term in distillation.step.terms if LOSSES[term.loss].reads in LOGITS]

    class DistilledHead(host_head):  # type: ignore[misc, valid-type]
        """The host's margin loss plus the recipe's weighted terms."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # Of (margin, width, num_classes, ...), as every version of the loop calls it.
            check_classes(distillation.prototypes, kwargs["num_classes"] if "num_classes" in kwargs else args[2])
            if logit_terms and distillation.student is not None:
                width = distillation.student.teacher.embedding_size
                distillation.rows = teacher_rows(distillation, self.class_start, self.num_local, width)
            distillation.rule.begin(self, _number_of_classes(*args, **kwargs))

        def forward(self, outputs: Outputs, labels: Tensor) -> Tensor:
            """Return the scalar that the loop back-propagates: margin loss + sum of weighted terms."""
            embedding, features = outputs
            # arcface_torch's head squeezes the caller's labels in place.
            mine = labels.view(-1).clone()
            found = distillation.rule.before_loss(self, features, mine)
            margin = super().forward(embedding, labels)
            for name, value in {"margin": margin, **found}.items():
                distillation.step.watch(name, value)
            if logit_terms:
                add_logits(self, distillation, features, logit_terms)
            total = margin + distillation.step(features, mine)
            if distillation.student is not None:
                distillation.monitor.after_step(distillation.step, distillation.student)
            return total

        def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            """Return the host's state first, then the method's under `cakd.`; refuses to hand out a run gone wrong."""
            distillation.step.check_finite()
            return {**super().state_dict(*args, **kwargs), **method_state(distillation)}

        def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:
            """Load the host's state, and the method's when it is there."""
            load_method_state(distillation, {k: v for k, v in state_dict.items() if k.startswith(PREFIX)})
            plain = {k: v for k, v in state_dict.items() if not k.startswith(PREFIX)}
            distillation.rule.check_state(self, plain)
            return super().load_state_dict(plain, strict=strict, assign=assign)

    DistilledHead.__name__ = DistilledHead.__qualname__ = "DistilledHead"
    return DistilledHead


def _number_of_classes(margin_loss: Any, embedding_size: int, num_classes: int, *_: Any, **__: Any) -> int:
    """Pick one of the arguments of PartialFC; arcface_torch's does not keep it."""
    return num_classes
