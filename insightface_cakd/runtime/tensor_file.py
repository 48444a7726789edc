"""Files of tensors: written whole, and read as plain tensors."""

import errno
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.runtime.atomic import replacing


def oddity(value: object) -> str | None:
    """Return what keeps a value from being a weight, if anything.

    A weight is a dense tensor of real numbers in memory.
    """
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.is_nested or value.layout != torch.strided:
        return "a nested tensor" if value.is_nested else f"a sparse tensor ({value.layout})"
    if value.is_meta:
        return "a tensor on the meta device, without numbers"
    if value.is_quantized or value.is_complex():
        return f"a {'quantised' if value.is_quantized else 'complex'} tensor ({value.dtype})"
    return None


def first_oddity(state: object) -> str | None:
    """Return what keeps a value from being named weights, if anything."""
    if not isinstance(state, dict):
        return f"a {type(state).__name__}"
    for key, value in state.items():
        if not isinstance(key, str):
            return f"{in_one_line(repr(key))[:80]} as a name, a {type(key).__name__}"
        if (odd := oddity(value)) is not None:
            return f"{in_one_line(key)[:80]}, {odd}"
    return None


def save_atomically(content: Any, path: Path, durable: bool = False) -> None:
    """Save with `torch.save`, completely or not at all.

    Args:
        content: tensors and plain values.
        path: of the file, replaced if it exists.
        durable: wait until the file is on the disk, so that it also outlives the machine's failure.
    """
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
            if durable:
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
    # torch's writer reports a full disk as a RuntimeError.
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "file write failed" in str(error)
        reason = "no space left on the device" if full else in_one_line(error)
        raise RunError(
            f"{path}: cannot be written ({reason}); what was saved before is untouched. Free some space and use --resume."
        ) from error
