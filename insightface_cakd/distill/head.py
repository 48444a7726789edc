"""The host's class-sharded head, plus the distillation terms of the recipe."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from insightface_cakd.distill.centres import CentreRule
from insightface_cakd.distill.gather import gather_for_shards
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.step import COLUMNS, DistillationStep
from insightface_cakd.distill.student import DistilledStudent, Outputs
from insightface_cakd.errors import RunError, ShapeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.base import LOGITS
from insightface_cakd.losses.thresholds import row_chunks
from insightface_cakd.recipe import TermSpec

PREFIX = "cakd."


class SeenMargin(nn.Module):
    """The host's margin, which lets its logits be seen.

    PartialFC overwrites the margin's output in place with probabilities, so what is kept is a clone; it is part of the graph.

    Args:
        margin: the host's margin object, called with cosines (N, n) and labels (N, 1), -1 for classes of other ranks.
    """

    def __init__(self, margin: nn.Module) -> None:
        super().__init__()
        self.margin = margin
        self.logits: Tensor | None = None
        self.labels: Tensor | None = None

    def forward(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the margin's scaled logits and keep a clone of them."""
        self.labels = labels.clone()
        logits = self.margin(cosines, labels)
        self.logits = logits.clone()
        return logits

    def taken(self) -> tuple[Tensor, Tensor]:
        """Return the clones of the last logits and labels."""
        if self.logits is None or self.labels is None:
            raise RunError(
                "head: a term reads the logits, but the head has not called its margin; expected an arcface_torch head."
            )
        return self.logits, self.labels

    def release(self) -> None:
        """Forget the step's tensors, so that they do not outlive it."""
        self.logits = self.labels = None


class Distillation:
    """What student and head share: made by the seam before either exists.

    Args:
        step: the terms.
        monitor: where raw and weighted values go.
        centres: the teacher's class centres (classes, D_t) on the CPU; only for logits terms.
    """

    def __init__(self, step: DistillationStep, monitor: Monitor, centres: Tensor | None = None) -> None:
        self.step = step
        self.monitor = monitor
        self.centres = centres
        self.student: DistilledStudent | None = None
        self.rows: Tensor | None = None
        # Who decides the head's class centres: without the recipe's word, the optimiser.
        self.rule = CentreRule()


def distilled_head(host_head: type[nn.Module], distillation: Distillation) -> type[nn.Module]:
    """Return a subclass of the host's head that adds the terms and carries their state.

    The class keeps the host's constructor, which also checks the teacher's centres, and lets the recipe's rule take the head over. Its
    `state_dict` holds, besides the host's, the step, projectors and buffers of the method under `cakd.`; a plain head's state loads too,
    and then the method starts afresh.

    Args:
        host_head: `PartialFC_V2` of the host.
        distillation: shared with the student.
    """

    logit_terms = [term for term in distillation.step.terms if LOSSES[term.loss].reads in LOGITS]

    class DistilledHead(host_head):  # type: ignore[misc, valid-type]
        """The host's margin loss plus the recipe's weighted terms."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
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
            learn_balance(distillation, embedding.device)
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


def learn_balance(distillation: Distillation, device: torch.device) -> None:
    """Let the balance, if there is one, take in what the last step's backward measured."""
    if distillation.step.balance is not None and distillation.student is not None:
        distillation.step.balance.learn(distillation.student.gradients_before, device)


def add_logits(head: Any, distillation: Distillation, features: dict[str, Tensor], terms: list[TermSpec]) -> None:
    """Give logits terms what they compare, for the same samples and the same classes.

    The student's logits and the teacher's; or, for the margin of prompts, the teacher's with a graph and the column of each class.

    Args:
        head: has just computed its margin loss.
        distillation: holds the teacher's centres.
        features: gets `<name>.student` and `<name>.teacher`, and under `COLUMNS` the column of each sample's class.
        terms: that read logits.
    """
    seen: SeenMargin = head.margin_softmax
    student, columns = seen.taken()
    features[COLUMNS] = columns
    logits = teacher_logits(head, distillation, features["teacher.embedding"], seen)
    for term in terms:
        prompted = LOSSES[term.loss].reads == "prompted_logits"
        pair = (logits, columns) if prompted else (student, logits.detach())
        features[f"{term.name}.student"], features[f"{term.name}.teacher"] = pair
    seen.release()


def teacher_logits(head: Any, distillation: Distillation, embedding: Tensor, seen: SeenMargin) -> Tensor:
    """Return the teacher's logits (N, n) with the student's margin, on the rows that this rank used in this step."""
    if distillation.rows is None:
        distillation.rows = teacher_rows(distillation, head.class_start, head.num_local, embedding.shape[1])
    rows = distillation.rows = distillation.rows.to(embedding.device)
    if head.sample_rate < 1:
        rows = rows[head.weight_index.to(rows.device)]
    everyone = gather_for_shards(normalize(embedding.float(), eps=1e-6))
    # A copy: the margin writes into the cosines, and into the labels of some hosts.
    columns = seen.taken()[1].clone()
    if everyone.requires_grad:
        return seen.margin((everyone @ rows.T).clamp(-1, 1), columns)
    # A margin treats each row by itself, so a constant teacher needs no second matrix of this size.
    logits = everyone.new_empty(len(everyone), len(rows))
    for part in row_chunks(logits):
        logits[part] = seen.margin((everyone[part] @ rows.T).clamp_(-1, 1), columns[part])
    return logits


def teacher_rows(distillation: Distillation, start: int, count: int, width: int) -> Tensor:
    """Return this rank's rows of the teacher's unit class centres.

    Raises:
        ShapeError: the centres' width is not the teacher's, or there are too few classes.
    """
    centres = distillation.centres
    if centres is None or centres.shape[1] != width or centres.shape[0] < start + count:
        shape = None if centres is None else tuple(centres.shape)
        raise ShapeError(
            f"teacher centres {shape} do not fit a teacher of width {width} and a head that reaches class {start + count}; expected "
            "one row per class of the training set. Set teacher.centres to the head of this teacher on this data set."
        )
    return normalize(centres[start : start + count].float(), eps=1e-6)


def method_state(distillation: Distillation) -> dict[str, Tensor]:
    """Return what a resumed run needs besides the host's own state: step count, projectors, fields, prompts, buffers of losses, balance."""
    step = distillation.step
    state = {f"{PREFIX}step": torch.tensor(step.step)}
    state |= {f"{PREFIX}losses.{key}": value for key, value in step.losses.state_dict().items()}
    if distillation.student is not None:
        method = distillation.student.method.state_dict()
        state |= {f"{PREFIX}{key}": value for key, value in method.items()}
        if step.balance is not None:
            state[f"{PREFIX}balance"] = step.balance.state(distillation.student.gradients)
    return state


def load_method_state(distillation: Distillation, state: dict[str, Tensor]) -> None:
    """Load what `method_state` gave; an empty state, a plain head's, leaves the method as it is.

    Raises:
        RunError: the state is another recipe's.
    """
    if not state:
        return
    expected = method_state(distillation)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    wanted = {key: tuple(value.shape) for key, value in expected.items()}
    differing = sorted(key for key in shapes.keys() | wanted.keys() if not _fits(shapes.get(key), wanted.get(key)))
    if differing:
        raise RunError(
            f"checkpoint: the method's state does not fit this recipe ({len(differing)} entries differ, first {differing[0]}: saved "
            f"{shapes.get(differing[0])}, expected {wanted.get(differing[0])}). Resume with the recipe of the run, or start a new one."
        )
    distillation.step.step = int(state[f"{PREFIX}step"])
    _load_part(distillation.step.losses, state, f"{PREFIX}losses.")
    if distillation.student is not None:
        if distillation.step.balance is not None:
            distillation.step.balance.load(state[f"{PREFIX}balance"])
        method = distillation.student.method
        method.load_state_dict({key: state[f"{PREFIX}{key}"] for key in method.state_dict()})


def _fits(saved: tuple[int, ...] | None, expected: tuple[int, ...] | None) -> bool:
    """Return whether a saved tensor can be loaded; a queue of width 0 takes any, since it learns its width from its first rows."""
    if saved is None or not expected or expected[-1] != 0:
        return saved == expected
    return saved[:-1] == expected[:-1]


def _load_part(module: nn.Module, state: dict[str, Tensor], prefix: str) -> None:
    module.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
