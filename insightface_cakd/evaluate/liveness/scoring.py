"""Scores of faces by a model that tells live from spoof."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.liveness import LiveFaces
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.liveness.result import LivenessResult, Scored
from insightface_cakd.networks.modes import evaluating

BATCH = 64


@dataclass(frozen=True)
class Input:
    """What a model takes, and which of its classes is live.

    Args:
        live_class: index of live among the model's answers.
        size: side in pixels.
        values: `unit`, [-1, 1], or `raw`, 0 to 255.
        colour: order of the channels.
    """

    live_class: int = 1
    size: int = FACE_SIZE
    values: Literal["unit", "raw"] = "unit"
    colour: Literal["rgb", "bgr"] = "rgb"

    def tensor(self, faces: Sequence[np.ndarray]) -> Tensor:
        """Return RGB faces uint8 (size, size, 3) as the model takes them."""
        pixels = torch.from_numpy(np.stack(faces).transpose(0, 3, 1, 2).copy()).float()
        pixels = pixels.flip(1) if self.colour == "bgr" else pixels
        return pixels if self.values == "raw" else pixels / 127.5 - 1


OURS = Input()


@torch.no_grad()
def score_faces(
    model: Callable[[Tensor], Tensor], faces: LiveFaces, given: Input = OURS, batch: int = BATCH
) -> np.ndarray:
    """Return the probability of live for each face, float64 (N,).

    Args:
        model: (B, 3, size, size) -> logits (B, classes); put in eval mode meanwhile.
        faces: at least one.
        given: what the model takes.
        batch: images at a time.

    Raises:
        EvaluationError: the model has no such class.
    """
    device = next((weight.device for weight in getattr(model, "parameters", list)()), torch.device("cpu"))
    found = []
    with evaluating(model):
        for start in range(0, len(faces), batch):
            part = [faces.image(index, given.size) for index in range(start, min(start + batch, len(faces)))]
            logits = model(given.tensor(part).to(device)).double().cpu()
            if logits.dim() != 2 or not 0 <= given.live_class < logits.shape[1] or logits.shape[1] < 2:
                raise EvaluationError(
                    f"liveness: the model answers {tuple(logits.shape[1:])} values, and live is class {given.live_class}; expected two or "
                    "more classes with that one. Is it an anti-spoofing model? Correct --live-class."
                )
            found.append(logits.softmax(dim=1)[:, given.live_class])
    return torch.cat(found).numpy()


def measure_liveness(
    model: Callable[[Tensor], Tensor],
    faces: LiveFaces,
    development: Sequence[str],
    tests: Sequence[str],
    given: Input = OURS,
    batch: int = BATCH,
) -> LivenessResult:
    """Return a model's error rates on test domains.

    Args:
        model: see `score_faces`.
        faces: of all domains.
        development: domains that give the threshold.
        tests: domains to be tested, none of them among `development`.
        given: what the model takes.
        batch: images at a time.

    Raises:
        EvaluationError: a domain is on both sides, or a side is empty.
    """
    both = sorted(set(development) & set(tests))
    if both or not development or not tests:
        raise EvaluationError(
            f"liveness: development {', '.join(development) or 'none'}, test {', '.join(tests) or 'none'}; expected different domains on "
            "both sides, since the threshold must not be that of the test set. Correct --dev and --test."
        )

    def scored(names: Sequence[str]) -> Scored:
        part = faces.of(names).require_both_kinds()
        videos = np.array([f"{part.domains[d]}/{v}" for d, v in zip(part.domain, part.videos, strict=True)])
        return Scored.by_video(score_faces(model, part, given, batch), part.live, videos)

    return LivenessResult(scored(development), {name: scored([name]) for name in tests}, ", ".join(development))
