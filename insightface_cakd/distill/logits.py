"""The class logits of student and teacher, on the rows that the head used in a step."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.gather import gather_for_shards
from insightface_cakd.distill.step import COLUMNS
from insightface_cakd.errors import RunError, ShapeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.thresholds import row_chunks
from insightface_cakd.recipe import TermSpec


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
