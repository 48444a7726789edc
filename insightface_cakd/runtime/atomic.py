"""Files that are either whole or not there."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insightface_cakd.errors import RunError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write (a file or a folder), and put it in place when the block ends well.

    If the block raises, whatever was written is removed, parents made for it too, and `path` stays as it was. An existing folder is
    never replaced.

    Args:
        path: the file or folder to create; its parents are created when missing.

    Raises:
        OSError: the parent cannot be written, a folder is to replace one that is not empty, or the path is the working folder or the root.
    """
    target = Path(path)
    if not target.name:
        raise OSError(errno.EINVAL, "it has no name of its own", str(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: the file to write, replaced when it exists.
        content: what `json.dumps` takes.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); what was saved before is untouched. Free some space, or choose another place."
        ) from error
