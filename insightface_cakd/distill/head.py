"""The host's class-sharded head, plus the distillation terms of the recipe."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.monitor import loss_line
from insightface_cakd.distill.prototypes import check_classes
from insightface_cakd.distill.sources import asking
from insightface_cakd.distill.state import PREFIX, load_method_state, method_state
from insightface_cakd.distill.student import Outputs


def distilled_head(host_head: type[nn.Module], distillation: Distillation) -> type[nn.Module]:
    """Return a subclass of the host's head that adds the distillation terms.

    The class keeps the host's constructor, which also checks the teacher's class centres and prototypes. Its `state_dict` contains, besides
    the host's state, the step, projectors and buffers of the method under `cakd.`; the state of a plain head loads too, and then the method
    starts afresh. `host_head` is `PartialFC_V2` of the host, or its replacement by a task, which may have parts of its loss logged by
    name, `shown`.
    """

    sources = distillation.sources
    loss_name = getattr(host_head, "loss_name", "margin")

    class DistilledHead(host_head):  # type: ignore[misc, valid-type]
        """The host's loss plus the recipe's weighted terms."""

        terms = staticmethod(partial(_terms, distillation))

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            classes = _number_of_classes(*args, **kwargs)
            check_classes(distillation.prototypes, classes)
            for source in sources:
                source.begin(self, classes)

        def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
            """Return the host's loss + the weighted terms + the sources' own losses."""
            answer, features = outputs
            # arcface_torch's head squeezes the caller's labels in place.
            labels = _labels_of(target)
            logged = _before_loss(distillation, self, features, labels)
            own = super().forward(answer, target)
            parts = getattr(self, "shown", {}).items()
            for name, value in [(loss_name, own), *parts, *logged.items()]:
                distillation.step.watch(name, value)
            for source in sources:
                with asking(source):
                    features |= source.after_loss(self, features)
            total = own + distillation.step(features, labels) + _own_losses(distillation, features, labels)
            if distillation.student is not None:
                distillation.monitor.after_step(distillation.step, distillation.student)
            return total

        def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            """Return the host's state first, then the method's under `cakd.`.

            A run whose terms are no longer finite raises instead, so that nothing is saved.
            """
            distillation.step.check_finite()
            return {**super().state_dict(*args, **kwargs), **method_state(distillation)}

        def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:
            """Load the host's state, and the method's where the checkpoint has it."""
            load_method_state(distillation, {k: v for k, v in state_dict.items() if k.startswith(PREFIX)})
            plain = {k: v for k, v in state_dict.items() if not k.startswith(PREFIX)}
            for source in sources:
                source.check_state(self, plain)
            return super().load_state_dict(plain, strict=strict, assign=assign)

    DistilledHead.__name__ = DistilledHead.__qualname__ = "DistilledHead"
    return DistilledHead


def _terms(distillation: Distillation) -> str:
    """Return what the last loss consists of; reads the device."""
    student = distillation.student
    return loss_line(distillation.step, None if student is None else student.gradients)


def _before_loss(
    distillation: Distillation, head: nn.Module, features: dict[str, Tensor], labels: Tensor
) -> dict[str, Tensor]:
    """Let the sources prepare the step, and return what they log."""
    logged: dict[str, Tensor] = {}
    for source in distillation.sources:
        with asking(source):
            logged |= source.before_loss(head, features, labels)
    return logged


def _own_losses(distillation: Distillation, features: dict[str, Tensor], labels: Tensor) -> Tensor | float:
    """Return the sum of the losses of what the sources train, and log them."""
    total: Tensor | float = 0.0
    for source in distillation.sources:
        with asking(source):
            loss = source.own_loss(features, labels)
            if loss is not None:
                distillation.step.watch(source.name, loss)
                total = total + loss
    return total


def _labels_of(target: Tensor) -> Tensor:
    """Return a copy of the identities of a batch, (B,).

    A floating-point target gives -1, no identity, for each row.
    """
    if target.is_floating_point():
        return torch.full((len(target),), -1, dtype=torch.int64, device=target.device)
    return target.view(-1).clone()


def _number_of_classes(margin_loss: Any, embedding_size: int, num_classes: int, *_: Any, **__: Any) -> int:
    """Pick one of the arguments of PartialFC; arcface_torch's does not keep it."""
    return num_classes
