"""How fast the parts of a step are; nothing waits."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch

PARTS = ("generator", "teacher", "student")
# On CUDA, steps whose times are waited for at most; the log takes them away more often than that.
KEPT = 1000


@dataclass
class _Step:
    """Marks of one step."""

    begun: Any
    images: int = 0
    generated: Any = None
    taught: list[tuple[Any, Any]] = field(default_factory=list)


class Speeds:
    """Measures generator, teacher and student of each step.

    The student's part is what is left of the step: its forward and backward, the loss and the optimiser. On CUDA the marks are events on
    the stream, read when they have passed, so that nothing waits.
    """

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self._steps: list[_Step] = []
        self._teacher: Any = None

    def begin(self, device: torch.device) -> None:
        """Note that a step begins, and the one before it ends.

        Args:
            device: of the run.
        """
        self.device = device
        del self._steps[:-KEPT]
        self._steps.append(_Step(self._mark()))

    def generated(self, count: int) -> None:
        """Note that the images of the step are there.

        Args:
            count: number of generated images.
        """
        self._steps[-1].generated, self._steps[-1].images = self._mark(), count

    def teacher_begins(self, *_: Any) -> None:
        """Note that the teacher begins; a hook of its module."""
        self._teacher = self._mark()

    def teacher_ends(self, *_: Any) -> None:
        """Note that the teacher ends; a hook of its module."""
        if self._steps and self._teacher is not None:
            self._steps[-1].taught.append((self._teacher, self._mark()))

    def take(self, images: int) -> dict[str, float]:
        """Return images a second of each part since the last call.

        A part that took no time yet is left out.

        Args:
            images: of a batch, which teacher and student see.
        """
        seconds, seen = dict.fromkeys(PARTS, 0.0), dict.fromkeys(PARTS, 0)
        ended = [
            (one, after.begun)
            for one, after in zip(self._steps, self._steps[1:], strict=False)
            if self._passed(after.begun)
        ]
        for step, end in ended:
            taught = sum(self._between(*marks) for marks in step.taught)
            seconds["generator"] += self._between(step.begun, step.generated)
            seconds["teacher"] += taught
            seconds["student"] += self._between(step.generated, end) - taught
            seen["generator"] += step.images
            seen["teacher"] += images if step.taught else 0
            seen["student"] += images
        del self._steps[: len(ended)]
        return {part: seen[part] / seconds[part] for part in PARTS if seen[part] and seconds[part] > 0}

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _passed(self, mark: Any) -> bool:
        return self.device.type != "cuda" or bool(mark.query())

    def _between(self, first: Any, last: Any) -> float:
        """Return seconds between two marks that have passed."""
        return float(last - first if self.device.type != "cuda" else first.elapsed_time(last) / 1000)
