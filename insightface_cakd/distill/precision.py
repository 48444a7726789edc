"""The loop's autocast, of which only the student's network shall know."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


class CallersAutocast:
    """An autocast that is left, and entered again where it is wanted."""

    def __init__(self) -> None:
        self._device = "cpu"
        self._dtype: torch.dtype | None = None

    @contextmanager
    def left(self, device: torch.device) -> Iterator[None]:
        """Leave the autocast that is in force, if any.

        Args:
            device: where the step computes.
        """
        kind = device.type
        if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
            yield
            return
        self._device, self._dtype = kind, torch.get_autocast_dtype(kind)
        try:
            with torch.autocast(kind, enabled=False):
                yield
        finally:
            self._dtype = None

    def entered(self) -> AbstractContextManager[object]:
        """Return the autocast that was left; nothing if there was none."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, self._dtype)
