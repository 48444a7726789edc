"""A quickstart that failed goes on when started again."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from insightface_cakd.errors import RunError
from insightface_cakd.runtime.atomic import require_new, write_json
from insightface_cakd.runtime.folder_lock import LOCK

MARK = ".unfinished"


@contextmanager
def going_on(output: Path, asked: Mapping[str, object]) -> Iterator[bool]:
    """Mark a folder as unfinished during a block.

    If the block fails with something made, the mark stays.

    Args:
        output: new, empty, or marked before by a quickstart of the same.
        asked: what was asked for; JSON.

    Yields:
        Whether there is something to go on from.

    Raises:
        RunError: the folder holds something else, or an unfinished quickstart of something else.
    """
    mark = output / MARK
    before = _read(mark)
    if before is None:
        require_new(output, RunError)
        write_json(mark, asked)
    elif before != asked:
        said = ", ".join(f"{key} {before.get(key)}" for key in asked if before.get(key) != asked[key])
        raise RunError(
            f"{output}: holds an unfinished quickstart of something else ({said}); expected the same, to go on. Choose another "
            "--output, or remove it."
        )
    try:
        yield before is not None
    except BaseException:
        if all(child.name in (MARK, LOCK) for child in output.iterdir()):
            mark.unlink()
        raise
    mark.unlink()


def _read(mark: Path) -> dict[str, object] | None:
    if not mark.is_file():
        return None
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
