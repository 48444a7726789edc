"""The logits of student and teacher, on the rows the head used."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from insightface_cakd.distill.gather import ShardedClasses, gather_for_shards
from insightface_cakd.distill.sources.context import Batch, Setting
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.errors import RunError, ShapeError
from insightface_cakd.losses import DistillLoss
from insightface_cakd.losses.classes import WHOLE_ROWS
from insightface_cakd.recipe import TermSpec
from insightface_cakd.runtime.ranks import world_size

_PROMPTED = "prompted_logits"
# (N, 1): the column of each sample's class among this rank's classes, -1 where another rank has the class.
_COLUMNS = "columns"
# Parts of the rows that pass the margin one after another.
_PARTS = 8


class SeenMargin(nn.Module):
    """Wraps the host's margin and keeps its logits.

    They are part of the graph. arcface_torch's PartialFC overwrites the margin's output in place with probabilities, so what is kept is a
    clone.

    Attributes:
        clones: False if the head leaves the margin's output as it is.
    """

    def __init__(self, margin: nn.Module) -> None:
        super().__init__()
        self.margin = margin
        self.clones = True
        self.logits: Tensor | None = None
        self.labels: Tensor | None = None

    def forward(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the margin's scaled logits, and keep them.

        Shape:
            cosines: (N, n). labels: (N, 1), -1 for classes of other ranks. Returns (N, n).
        """
        self.labels = labels.clone()
        logits = self.margin(cosines, labels)
        self.logits = logits.clone() if self.clones else logits
        return logits

    def taken(self) -> tuple[Tensor, Tensor]:
        """Return the last logits and labels."""
        if self.logits is None or self.labels is None:
            raise RunError(
                "head: a term reads the logits, but the head has not called its margin; expected an arcface_torch head."
            )
        return self.logits, self.labels

    def release(self) -> None:
        """Release the step's tensors, so that they do not outlive it."""
        self.logits = self.labels = None


class Logits(Source):
    """Offers the head's logits of both sides: `logits` and `prompted_logits`.

    Both are (N, n), of the gathered batch on the classes that this rank used in the step; so they need no further gathering.
    """

    offers = ("logits", _PROMPTED)
    by_class = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.centres = setting.load_centres()
        self.rows: Tensor | None = None

    def check(self, width: int, classes: int) -> None:
        """Check that each class has a class centre of the teacher's width."""
        self._check_fit(classes)

    def begin(self, head: Any, classes: int) -> None:
        """Take this rank's rows of the teacher's unit centres."""
        head.margin_softmax.clones = not getattr(head, "keeps_logits", False)
        self.rows = self.own_rows(head)

    def own_rows(self, head: Any) -> Tensor:
        """Return the teacher's unit centres of this rank's classes."""
        start, end = head.class_start, head.class_start + head.num_local
        self._check_fit(end)
        return normalize(self.centres.rows(start, end), eps=1e-6)

    def _check_fit(self, classes: int) -> None:
        expected = self.setting.teacher.embedding_size
        if self.centres.shape[1] != expected or self.centres.shape[0] < classes:
            raise ShapeError(
                f"teacher centres {self.centres.shape} do not fit a teacher of width {expected} and a head that reaches class "
                f"{classes}; expected one row per class of the training set. Set teacher.centres to the head of this teacher on this data "
                "set."
            )

    def after_loss(self, head: Any, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return both sides' logits, and the column of each sample's class."""
        seen: SeenMargin = head.margin_softmax
        student, columns = seen.taken()
        teacher = self._teacher_logits(head, features[f"{self.setting.first}.embedding"], seen)
        seen.release()
        return {"logits.student": student, "logits.teacher": teacher, _COLUMNS: columns}

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return both sides' logits of a term.

        For the margin of prompts: the teacher's logits, with a graph, and the columns.
        """
        teacher = features["logits.teacher"]
        if term.reading == _PROMPTED:
            return teacher, features[_COLUMNS]
        return features["logits.student"], teacher.detach()

    def run(self, loss: DistillLoss, term: TermSpec, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return a term's value.

        In place of labels the loss gets columns, and with them the reductions over the classes of all ranks.
        """
        axis = ShardedClasses() if world_size() > 1 else WHOLE_ROWS
        return loss(*self.pair(term, features), features[_COLUMNS], axis)

    def _teacher_logits(self, head: Any, embedding: Tensor, seen: SeenMargin) -> Tensor:
        """Return the teacher's logits (N, n) with the student's margin.

        They are computed on the rows that this rank used in this step.
        """
        assert self.rows is not None, "taken when the head was built"
        rows = self.rows = self.rows.to(embedding.device)
        if head.sample_rate < 1:
            rows = rows[head.weight_index.to(rows.device)]
        everyone = gather_for_shards(normalize(embedding.float(), eps=1e-6))
        # A copy: the margin writes into the cosines, and into the labels of some hosts.
        columns = seen.taken()[1].clone()
        if everyone.requires_grad:
            return seen.margin((everyone @ rows.T).clamp(-1, 1), columns)
        # A margin treats each row by itself, so a constant teacher needs no second matrix of this size.
        logits = (everyone @ rows.T).clamp_(-1, 1)
        for part, own in zip(logits.chunk(_PARTS), columns.chunk(_PARTS), strict=True):
            part.copy_(seen.margin(part, own))
        return logits
