"""Files of tensors that are written completely or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import torch

from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.runtime.atomic import replacing


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
