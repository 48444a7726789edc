"""The patches that come with the package: order, groups and changed lines."""

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
    """A file's lines from `start` (from 0), maybe none, and their replacement."""

    start: int
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]


@dataclass(frozen=True)
class Patch:
    """One file of `patches/`."""

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
        """The fields above the diff (Subject, Description, Reason, ...), by name."""
        head = self.text.partition("\n---\n")[0]
        return {key: " ".join(value.split()) for key, value in _FIELD.findall(head)}

    @property
    def subject(self) -> str:
        """What the patch does, in one line."""
        return self.header["Subject"].removeprefix("[PATCH] ")

    @property
    def group(self) -> Group:
        """`seam` adds `--distill`; `modern-stack` lets the scripts run on current releases."""
        return "seam" if self.header["Reason"] == "seam" else "modern-stack"

    @cached_property
    def hunks(self) -> dict[str, Hunk]:
        """The one hunk of each changed file, by path within arcface_torch."""
        parts = self.text.partition("\n---\n")[2].split("diff --git ")[1:]
        return {part.partition("\n+++ b/" + INSIDE)[2].partition("\n")[0]: _hunk(part) for part in parts}


def _hunk(diff: str) -> Hunk:
    """Parse the hunk of one file; where it removes nothing, its number is that of the line before."""
    [(first, count, body)] = _HUNK.findall(diff)
    lines = body.encode().splitlines()
    removed, added = (tuple(line[1:] for line in lines if line.startswith(sign)) for sign in (b"-", b"+"))
    return Hunk(int(first) - (count != "0"), removed, added)


def read_series(folder: Path | None = None) -> list[Patch]:
    """Return a folder's patches, or the package's own, in their order."""
    folder = folder or shipped_folder("patches")
    lines = (line.strip() for line in (folder / "series").read_text(encoding="utf-8").splitlines())
    return [Patch(folder / line) for line in lines if line and not line.startswith("#")]
