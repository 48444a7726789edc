"""The patches that come with the package: their order, their groups, and the lines they change."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from insightface_cakd.runtime.shipped import shipped_folder

Group = Literal["seam", "modern-stack"]
INSIDE = "recognition/arcface_torch/"
_FIELD = re.compile(r"^([A-Z][A-Za-z-]+): (.*(?:\n .*)*)", re.MULTILINE)
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@\n((?:[-+].*\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Hunk:
    """Lines of a pinned file, and what stands in their place.

    Args:
        start: index of the first of them, from 0.
        removed: the pinned lines; none for an insertion.
        added: the new lines.
    """

    start: int
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]


@dataclass(frozen=True)
class Patch:
    """One file of `patches/`.

    Args:
        path: where it lies.
    """

    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @cached_property
    def text(self) -> str:
        """The whole file."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def header(self) -> dict[str, str]:
        """What stands above the diff: Subject, Description, Reason, Base, Forwarded, Remove-when, Test, Last-Update."""
        head = self.text.partition("\n---\n")[0]
        return {key: " ".join(value.split()) for key, value in _FIELD.findall(head)}

    @property
    def subject(self) -> str:
        """What it does, in a line."""
        return self.header["Subject"].removeprefix("[PATCH] ")

    @property
    def group(self) -> Group:
        """`seam` brings `--distill`; `modern-stack` lets the scripts run on current releases."""
        return "seam" if self.header["Reason"] == "seam" else "modern-stack"

    @cached_property
    def hunks(self) -> dict[str, Hunk]:
        """The files it changes, relative to arcface_torch, each with its one hunk."""
        parts = self.text.partition("\n---\n")[2].split("diff --git ")[1:]
        return {part.partition("\n+++ b/" + INSIDE)[2].partition("\n")[0]: _hunk(part) for part in parts}


def _hunk(diff: str) -> Hunk:
    """Read the hunk of a file; one that removes nothing is counted from the line before it."""
    [(first, count, body)] = _HUNK.findall(diff)
    lines = body.encode().splitlines()
    removed, added = (tuple(line[1:] for line in lines if line.startswith(sign)) for sign in (b"-", b"+"))
    return Hunk(int(first) - (count != "0"), removed, added)


def read_series(folder: Path | None = None) -> list[Patch]:
    """Return the patches in their order.

    Args:
        folder: holds `series`; the one that comes with the package when not given.
    """
    folder = folder or shipped_folder("patches")
    lines = (line.strip() for line in (folder / "series").read_text(encoding="utf-8").splitlines())
    return [Patch(folder / line) for line in lines if line and not line.startswith("#")]
