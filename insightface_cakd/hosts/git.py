"""What is asked of git, on copies: to place patches, to merge, to recall a file. No repository is changed or needed."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from insightface_cakd.hosts.patch_series import Patch

Files = dict[str, bytes]
_APPLY = ("-c", "core.autocrlf=false", "apply", "-p3", "--unidiff-zero", "--whitespace=nowarn")


def patched(files: Files, patches: list[Patch], reverse: bool = False, only: Iterable[str] = ()) -> Files | None:
    """Return the files with the patches put in or taken out, or None where one does not fit.

    Args:
        files: by name.
        patches: in the order of the series.
        reverse: take them out.
        only: the files to change and to return; all when empty.
    """
    only = set(only) or files.keys()
    patches = [patch for patch in patches if patch.files.keys() & only]
    if not patches:
        return {name: files[name] for name in only}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        for name in only & files.keys():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(files[name])
        options = [f"--include={name}" for name in only] + ["--reverse"] * reverse
        paths = [str(patch.path) for patch in (reversed(patches) if reverse else patches)]
        if _git(folder, *_APPLY, *options, *paths, outside=True).returncode:
            return None
        return {name: (folder / name).read_bytes() for name in only}


def merged(ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """Return both changes of `base` in one, or None where they overlap."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
            (folder / name).write_bytes(data)
        answer = _git(folder, "merge-file", "-p", "ours", "base", "theirs", outside=True)
        return answer.stdout if answer.returncode == 0 else None


def from_history(folder: Path, blob: str) -> bytes | None:
    """Return the content of that id if the repository around a folder holds it."""
    answer = _git(folder, "cat-file", "blob", blob)
    return answer.stdout if answer.returncode == 0 else None


def blob_id(data: bytes) -> str:
    """Return git's id of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _git(folder: Path, *command: str, outside: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder; `outside` keeps it from finding a repository around that folder."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key == "GIT_EXEC_PATH"
    }
    if outside:
        environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    return subprocess.run(["git", *command], cwd=folder, env=environment, capture_output=True, check=False)
