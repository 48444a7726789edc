"""Files of tensors that are written completely or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import torch

from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.runtime.atomic import replacing


def save_tensors(content: Any, path: Path) -> None:
    """Save with `torch.save`; a full disk is an OSError, as elsewhere."""
    try:
        torch.save(content, path)
    except RuntimeError as error:
        # The words of torch's writer.
        if "file write failed" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def save_atomically(content: Any, path: Path, durable: bool = False) -> None:
    """Save with `torch.save`, completely or not at all.

    Args:
        content: tensors and plain values.
        path: of the file, replaced if it exists.
        durable: wait until the file is on the disk, so that it also outlives the machine's failure.
    """
    try:
        with replacing(path) as temporary:
            save_tensors(content, temporary)
            if durable:
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or in_one_line(error)
        raise RunError(
            f"{path}: cannot be written ({reason}); what was saved before is untouched. Free some space and use --resume."
        ) from error
