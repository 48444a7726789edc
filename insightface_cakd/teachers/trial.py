"""Tries out what is to teach, before it sees a face."""

import torch
from torch import Tensor, nn

from insightface_cakd.data.answers import check_answers
from insightface_cakd.errors import TeacherError
from insightface_cakd.networks.image_format import RGB, ImageFormat
from insightface_cakd.networks.trial import trial_images
from insightface_cakd.runtime.foreign import foreign

SILENT = (
    "Its weights, or the order or range of colours that it is given, are not right: see teacher.channels, mean and std."
)


def describe(value: object) -> str:
    """Describe a tensor by its shape, anything else by its type."""
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _kind_of(tensor: Tensor) -> str:
    return f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"


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
    fails = f"cannot embed 2 images of {input_size}x{input_size}"
    # Any error here means that this teacher cannot be used, one of a network of this package too.
    with foreign(where, TeacherError, "a network of free batch size. Is teacher.input_size right?", fails=fails):
        answers = embedder(images)
    if not isinstance(answers, Tensor) or answers.ndim < 2 or answers.shape[0] != 2:
        raise TeacherError(
            f"{where}: gives {describe(answers)} for 2 images; expected (2, D), one embedding per image, or (2, ...)."
        )
    if not answers.is_floating_point() or answers.layout != torch.strided or answers.is_meta:
        raise TeacherError(
            f"{where}: its embeddings are {_kind_of(answers)}; expected floating-point numbers, dense and in memory. Return those."
        )
    if trained:
        check_answers(answers, f"{where}: tried out", SILENT)
    return tuple(answers.shape[1:])
