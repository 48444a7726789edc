"""Patches into a checkout and out of it again: `git apply`, all or nothing, as often as you like, and back to the byte.

The work is done on copies: what is in the checkout is taken out with `git apply --reverse`, compared with the pinned content that
each patch names, and the wanted patches are put in. A file that the user changed is merged as `git apply --3way` would, from the pinned
content in the checkout's git history; without that history it is refused, since a patch without context lines cannot be placed in it.
Only then are files replaced. So it does not matter whether the checkout is a git repository, or lies inside another one.
"""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from insightface_cakd.errors import PatchError
from insightface_cakd.hosts.git import Files, blob_id, from_history, merged, patched
from insightface_cakd.hosts.patch_series import Group, Patch, read_series
from insightface_cakd.hosts.pinned import PINNED_COMMIT
from insightface_cakd.runtime.atomic import replacing


class Hindrance(NamedTuple):
    """A file that a patch cannot be put into or taken out of, and why."""

    file: str
    why: str


@dataclass(frozen=True)
class PatchState:
    """Where a patch stands in a checkout.

    Args:
        patch: which one.
        applied: it is in.
        hindrance: why it cannot be put in, or None.
    """

    patch: Patch
    applied: bool
    hindrance: Hindrance | None = None

    def __str__(self) -> str:
        state = "applied" if self.applied else "not applied" if self.hindrance is None else "does not apply"
        why = f" ({self.hindrance.file} {self.hindrance.why})" if self.hindrance else ""
        return f"{state:14}  {self.patch.group:12}  {self.patch.name}: {self.patch.subject}{why}"


def status(folder: Path) -> list[PatchState]:
    """Say of each patch whether it is in, could be put in, or why not. Nothing is changed.

    Args:
        folder: the checkout, which holds `train_v2.py`.

    Raises:
        PatchError: there is no git.
    """
    copy = _Copy(folder, read_series())
    applied = copy.applied
    states = []
    for patch in copy.series:
        result = None if patch in applied else copy.with_patches([*applied, patch])
        states.append(PatchState(patch, patch in applied, result if isinstance(result, Hindrance) else None))
    return states


def apply(folder: Path, only: Group | None = None) -> list[Patch]:
    """Put the patches in that are not in yet: all of them, or none.

    Args:
        folder: the checkout, which holds `train_v2.py`.
        only: this group.

    Returns:
        The patches that were put in; empty when all were in.

    Raises:
        PatchError: a file differs from the pinned one so that a patch does not apply, or cannot be written; there is no git.
    """
    copy = _Copy(folder, read_series())
    wanted = [patch for patch in copy.series if only in (None, patch.group) and patch not in copy.applied]
    copy.write([*copy.applied, *wanted])
    return wanted


def revert(folder: Path, only: Group | None = None) -> list[Patch]:
    """Take the patches out that are in: all of them, or none. Unchanged files are the pinned ones again, byte for byte.

    Args:
        folder: the checkout, which holds `train_v2.py`.
        only: this group.

    Returns:
        The patches that were taken out; empty when none was in.

    Raises:
        PatchError: as `apply`.
    """
    copy = _Copy(folder, read_series())
    unwanted = [patch for patch in copy.applied if only in (None, patch.group)]
    copy.write([patch for patch in copy.applied if patch not in unwanted])
    return unwanted


class _Copy:
    """The files of a checkout that the series touches, as they are, with line ends as LF."""

    def __init__(self, folder: Path, series: list[Patch]) -> None:
        if shutil.which("git") is None:
            raise PatchError(
                "patch: git is not installed, or not on PATH; expected git 2. Install it, or train with `cakd train --host`, which "
                "patches nothing."
            )
        self.folder, self.series = folder, series
        self.pinned_ids = {name: blob for patch in series for name, blob in patch.files.items()}
        there = [name for name in self.pinned_ids if (folder / name).is_file()]
        raw = {name: (folder / name).read_bytes() for name in there}
        self.ends_in_crlf = {name for name in there if raw[name].count(b"\r\n") == raw[name].count(b"\n") > 0}
        self.files = {
            name: data.replace(b"\r\n", b"\n") if name in self.ends_in_crlf else data for name, data in raw.items()
        }

    @cached_property
    def applied(self) -> list[Patch]:
        """The patches that can be taken out, so they are in."""
        whole = [patch for patch in self.series if patch.files.keys() <= self.files.keys()]
        return [patch for patch in whole if patched(self.files, [patch], reverse=True) is not None]

    @cached_property
    def pinned(self) -> Files:
        """The pinned files: what is left without the patches, or what git's history holds; those that neither gives are absent."""
        plain = patched(self.files, self.applied, reverse=True) or {}
        found = {name: data for name, data in plain.items() if blob_id(data) == self.pinned_ids[name]}
        for name in self.pinned_ids.keys() & self.files.keys() - found.keys():
            data = from_history(self.folder, self.pinned_ids[name])
            if data is not None:
                found[name] = data
        return found

    def moved(self, wanted: list[Patch]) -> list[Patch]:
        """Return the patches to put in or to take out, so that just the wanted ones are in."""
        return [patch for patch in self.series if (patch in wanted) != (patch in self.applied)]

    def with_patches(self, wanted: list[Patch]) -> Files | Hindrance:
        """Return the files that change when just these patches are in, or what stands in the way."""
        names = {name for patch in self.moved(wanted) for name in patch.files}
        for name in sorted(names - self.pinned.keys()):
            why = "differs from the pinned one, and there is no git history to merge it with"
            return Hindrance(name, why if name in self.files else "is missing")
        before = patched(self.pinned, self.applied, only=names)
        after = patched(self.pinned, [patch for patch in self.series if patch in wanted], only=names)
        if before is None or after is None:
            raise AssertionError("the series does not apply to the files it was made against")
        result: Files = {}
        for name in sorted(names):
            ours = self.files[name]
            both = after[name] if ours == before[name] else merged(ours, before[name], after[name])
            if both is None:
                return Hindrance(name, "was changed in the lines of a patch, or next to them")
            result[name] = both
        return result

    def write(self, wanted: list[Patch]) -> None:
        """Replace the files, so that just these patches are in."""
        files = self.with_patches(wanted)
        if isinstance(files, Hindrance):
            first = self._first_hindered(wanted)
            verb = "applied to" if first in wanted else "taken out of"
            raise PatchError(
                f"patch {first.name} cannot be {verb} {self.folder}: {files.file} {files.why}; expected the file of "
                f"deepinsight/insightface@{PINNED_COMMIT}. Nothing was changed. Undo the change of {files.file}, or train with "
                "`cakd train --host`, which patches nothing."
            )
        ends = {name: b"\r\n" if name in self.ends_in_crlf else b"\n" for name in files}
        _replace(self.folder, {name: data.replace(b"\n", ends[name]) for name, data in files.items()})

    def _first_hindered(self, wanted: list[Patch]) -> Patch:
        """Return the patch to name: the first that cannot be moved alone, else the first."""
        moved = self.moved(wanted)
        for patch in moved:
            alone = [other for other in self.series if (other in self.applied) != (other == patch)]
            if isinstance(self.with_patches(alone), Hindrance):
                return patch
        return moved[0]


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace files once all new ones are written; what was replaced goes back if one cannot be."""
    before = {name: (folder / name).read_bytes() for name in files}
    try:
        with ExitStack() as stack:
            for name, data in files.items():
                path = (folder / name).resolve()
                temporary = stack.enter_context(replacing(path))
                temporary.write_bytes(data)
                shutil.copymode(path, temporary)
    except OSError as error:
        for name, data in before.items():
            if (folder / name).read_bytes() != data:
                (folder / name).write_bytes(data)
        raise PatchError(
            f"patch: {folder} cannot be written ({error.strerror}); expected a folder of your own. Nothing was changed. Copy the "
            "checkout, or train with `cakd train --host`, which writes nothing into it."
        ) from error
