"""Tries out what is to teach, before it sees a face."""

import torch
from torch import Tensor, nn

from insightface_cakd.data.answers import check_answers
from insightface_cakd.errors import TeacherError, in_one_line
from insightface_cakd.networks.image_format import RGB, ImageFormat
from insightface_cakd.networks.trial import trial_images

SILENT = (
    "Its weights, or the order or range of colours that it is given, are not right: see teacher.channels, mean and std."
)


def describe(value: object) -> str:
    """Describe a tensor by its shape, anything else by its type."""
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def reason_of(error: Exception) -> str:
    """Return what a foreign network raised, in at most 300 characters."""
    return in_one_line(f"{type(error).__name__}: {error}")[:300]


@torch.no_grad()
def measure_answer(
    embedder: nn.Module,
    device: torch.device,
    input_size: int,
    where: str,
    takes: ImageFormat = RGB,
    trained: bool = True,
) -> tuple[int, ...]:
    """Return the shape of an embedder's answer, without the batch.

    Args:
        trained: whether its answers must say something, which random weights need not.

    Raises:
        TeacherError: it cannot embed two images, or its answers are not finite, all zero, or the same for both.
    """
    images = takes(trial_images(2, input_size, device))
    try:
        answers = embedder(images)
    except TeacherError:
        raise
    # A foreign network may raise anything here; any error means that this teacher cannot be used.
    except Exception as error:
        raise TeacherError(
            f"{where}: cannot embed 2 images of {input_size}x{input_size} ({reason_of(error)}); expected a network of free "
            "batch size. Is teacher.input_size right?"
        ) from error
    if not isinstance(answers, Tensor) or answers.ndim < 2 or answers.shape[0] != 2:
        raise TeacherError(
            f"{where}: gives {describe(answers)} for 2 images; expected (2, D), one embedding per image, or (2, ...)."
        )
    if trained:
        check_answers(answers, f"{where}: tried out", SILENT)
    return tuple(answers.shape[1:])
