"""Applies patches, all or none, and reverts them byte for byte.

The patches have no context lines, so they are applied only to the files they were made against; a file that you
changed is refused. They are reverted wherever their lines are found, so your other changes stay.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.errors import PatchError
from insightface_cakd.hosts.patch_series import Group, Patch, read_series
from insightface_cakd.hosts.pinned import PINNED, PINNED_COMMIT
from insightface_cakd.runtime.atomic import replacing

PACKAGE = b"insightface_cakd"


@dataclass(frozen=True)
class PatchState:
    """State of one patch in a checkout, and why it cannot apply."""

    patch: Patch
    applied: bool
    problem: str | None = None

    def __str__(self) -> str:
        state = "applied" if self.applied else "not applied" if self.problem is None else "does not apply"
        why = f" ({self.problem})" if self.problem else ""
        return f"{state:14}  {self.patch.group:12}  {self.patch.name}: {self.patch.subject}{why}"


def status(folder: Path) -> list[PatchState]:
    """Return for each patch whether it is applied or can be."""
    files = _Files(folder)
    states = []
    for patch in files.series:
        problems = (files.problem(name) for name in files.lacking(patch))
        states.append(PatchState(patch, not files.lacking(patch), next(filter(None, problems), None)))
    return states


def apply(folder: Path, only: Group | None = None) -> list[Patch]:
    """Apply the missing patches, all or none, and return them.

    `only` names the one group to apply. A file that is missing, differs from the pinned one or cannot be written is a
    PatchError, and so is a checkout with the patches of another version.
    """
    files = _Files(folder)
    wanted = [patch for patch in files.series if only in (None, patch.group) and files.lacking(patch)]
    changed: dict[str, list[bytes]] = {}
    for patch in wanted:
        for name in files.lacking(patch):
            problem = files.problem(name)
            if problem is not None:
                raise PatchError(
                    f"patch {patch.name} cannot be applied to {folder}: {problem}; expected the file of "
                    f"deepinsight/insightface@{PINNED_COMMIT}. Nothing was changed. Undo the change of {name}, or train with "
                    "`cakd train --host`, which patches nothing."
                )
            changed[name] = files.with_patches(name, wanted)
    files.write(changed)
    return wanted


def revert(folder: Path, only: Group | None = None) -> list[Patch]:
    """Revert the applied patches, all of them or none, and return them.

    Files without other changes are then equal to the pinned ones, byte for byte.
    """
    files = _Files(folder)
    unwanted = [patch for patch in files.series if only in (None, patch.group) and files.holding(patch)]
    changed = {name: files.without(name, unwanted) for patch in unwanted for name in files.holding(patch)}
    files.write(changed)
    return unwanted


class _Files:
    """A checkout's code files as lists of lines, with LF line ends."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.series = folder, read_series()
        raw = {name: (folder / name).read_bytes() for name in PINNED if (folder / name).is_file()}
        self.ends_in_crlf = {name for name, data in raw.items() if data.count(b"\r\n") == data.count(b"\n") > 0}
        self.lines = {
            name: (data.replace(b"\r\n", b"\n") if name in self.ends_in_crlf else data).split(b"\n")
            for name, data in raw.items()
        }
        self.plain = {name: self.without(name, self.series) for name in self.lines}
        others = [name for name, lines in self.plain.items() if any(PACKAGE in line for line in lines)]
        if others:
            raise PatchError(
                f"patch: {self.folder} was patched by another version of insightface-cakd ({', '.join(others)}); expected files without "
                "patches, or with those of this version. Nothing was changed. Revert with that version, or in a clone: git checkout -- "
                "recognition/arcface_torch."
            )

    def holding(self, patch: Patch) -> list[str]:
        there = (name for name in patch.hunks if name in self.lines)
        return [name for name in there if _place(self.lines[name], patch.hunks[name].added) is not None]

    def lacking(self, patch: Patch) -> list[str]:
        holding = self.holding(patch)
        return [name for name in patch.hunks if name not in holding]

    def problem(self, name: str) -> str | None:
        if name not in self.lines:
            return f"{name} is missing"
        digest = hashlib.sha256(b"\n".join(self.plain[name])).hexdigest()
        return None if digest == PINNED[name] else f"{name} differs from the pinned one"

    def with_patches(self, name: str, wanted: Sequence[Patch]) -> list[bytes]:
        """Return the pinned lines with these patches and those already applied."""
        lines = list(self.plain[name])
        patches = [
            patch for patch in self.series if name in patch.hunks and (patch in wanted or name in self.holding(patch))
        ]
        # From the last to the first, so that the line numbers stay valid.
        for hunk in sorted((patch.hunks[name] for patch in patches), key=lambda hunk: hunk.start, reverse=True):
            lines[hunk.start : hunk.start + len(hunk.removed)] = hunk.added
        return lines

    def without(self, name: str, patches: Sequence[Patch]) -> list[bytes]:
        lines = list(self.lines[name])
        for hunk in (patch.hunks[name] for patch in patches if name in patch.hunks):
            place = _place(lines, hunk.added)
            if place is not None:
                lines[place : place + len(hunk.added)] = hunk.removed
        return lines

    def write(self, changed: Mapping[str, list[bytes]]) -> None:
        ends = {name: b"\r\n" if name in self.ends_in_crlf else b"\n" for name in changed}
        _replace(self.folder, {name: ends[name].join(lines) for name, lines in changed.items()})


def _place(lines: list[bytes], block: tuple[bytes, ...]) -> int | None:
    starts = (i for i, line in enumerate(lines) if line == block[0] and tuple(lines[i : i + len(block)]) == block)
    return next(starts, None)


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace files once all new ones are written; if one cannot be, restore those already replaced."""
    before = {name: (folder / name).read_bytes() for name in files}
    try:
        with ExitStack() as stack:
            for name, data in files.items():
                stack.enter_context(replacing(folder / name)).write_bytes(data)
    except OSError as error:
        for name, data in before.items():
            if (folder / name).read_bytes() != data:
                (folder / name).write_bytes(data)
        raise PatchError(
            f"patch: {folder} cannot be written ({error.strerror}); expected a folder of your own. Nothing was changed. Copy the "
            "checkout, or train with `cakd train --host`, which writes nothing into it."
        ) from error
