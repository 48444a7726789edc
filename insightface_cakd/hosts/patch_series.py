"""The patches that come with the package: their order, their groups, and the files they were made against."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from insightface_cakd.runtime.shipped import shipped_folder

Group = Literal["seam", "modern-stack"]
INSIDE = "recognition/arcface_torch/"
_FIELD = re.compile(r"^([A-Z][A-Za-z-]+): (.*(?:\n .*)*)", re.MULTILINE)
_FILE = re.compile(rf"^diff --git a/{INSIDE}(\S+) b/\S+\nindex ([0-9a-f]{{40}})\.\.[0-9a-f]{{40}}", re.MULTILINE)


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
        """`seam` brings `--distill`; `modern-stack` mends what does not run any more."""
        return "seam" if self.header["Reason"] == "seam" else "modern-stack"

    @cached_property
    def files(self) -> dict[str, str]:
        """The files it changes, relative to arcface_torch, with git's id of their pinned content."""
        return dict(_FILE.findall(self.text))


def read_series(folder: Path | None = None) -> list[Patch]:
    """Return the patches in their order.

    Args:
        folder: holds `series`; the one that comes with the package when not given.
    """
    folder = folder or shipped_folder("patches")
    lines = (line.strip() for line in (folder / "series").read_text(encoding="utf-8").splitlines())
    return [Patch(folder / line) for line in lines if line and not line.startswith("#")]
