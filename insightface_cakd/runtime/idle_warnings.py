"""Leaves out torch's warnings that mean nothing, by their words."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Category and first words of a warning, and why nothing is to be done about it.
_IDLE: tuple[tuple[type[Warning], str, str], ...] = (
    (
        FutureWarning,
        "`broadcast_buffers` is deprecated. Use `forward_sync_buffers` instead.",
        "arcface_torch passes it, and wants buffers that are of a rank; older versions of torch know no other name",
    ),
    (
        UserWarning,
        "You passed find_unused_parameters=true to DistributedDataParallel, `_set_static_graph` will detect unused parameters",
        "arcface_torch asks for both; the second one counts",
    ),
)


@contextmanager
def idle_warnings_left_out() -> Iterator[None]:
    """Leave these warnings out during a block; every other one is shown."""
    with warnings.catch_warnings():
        leave_out_idle_warnings()
        yield


def leave_out_idle_warnings() -> None:
    """Leave these warnings out from now on."""
    for category, words, _ in _IDLE:
        warnings.filterwarnings("ignore", re.escape(words), category)
