"""What margins of a head take from the host's margin."""

from typing import Any

from torch import nn

from insightface_cakd.errors import RunError


def scale_of(host: nn.Module, setting: str) -> float:
    """Return the scale s of the host's margin.

    Args:
        host: the host's `margin_softmax`.
        setting: what asks for it, such as `head.margin: adaface`.

    Raises:
        RunError: it has none.
    """
    scale: Any = getattr(host, "s", None)
    if not isinstance(scale, int | float):
        raise RunError(
            f"{setting} takes the scale from the host's margin, and {type(host).__name__} has no number `s`; expected arcface_torch's "
            "CombinedMarginLoss. Leave it out of the recipe."
        )
    return float(scale)
