"""Folders made for something that may fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def made_folders(folder: Path) -> Iterator[None]:
    """Make a folder and its missing parents; remove those left empty.

    Args:
        folder: that the block writes to.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for one in made:
            if one.is_dir() and not any(one.iterdir()):
                one.rmdir()
