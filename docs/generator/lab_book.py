"""The gains that the tables of the lab book have of each recipe."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.generator import ROOT, anchor

FOLDER = ROOT / "docs/lab_book"
NAME, MEAN, GAIN = "method", "mean (std)", "gain (std)"


@dataclass(frozen=True)
class Gain:
    """A row of a table: a recipe against the student alone.

    Args:
        recipe: its name.
        said: heading of the section, and the line before the table.
        link: to the section, from docs/.
        seeds: how many.
        accuracy: mean and standard deviation, as printed.
        points: gained, as printed.
    """

    recipe: str
    said: str
    link: str
    seeds: int
    accuracy: str
    points: str


def gains() -> list[Gain]:
    """Return every row of every table that has gains, page by page."""
    return [gain for page in sorted(FOLDER.glob("*.md")) for gain in _of_page(page)]


def _of_page(page: Path) -> Iterator[Gain]:
    heading, before = "", ""
    columns: list[str] = []
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| ") else []
        if line.startswith("## "):
            heading, before = line[3:], ""
        elif cells and not columns:
            columns = cells
        elif cells and NAME in columns and GAIN in columns:
            row = dict(zip(columns, cells, strict=True))
            if row[GAIN] and not set(row[GAIN]) <= {"-"}:
                said = f"{heading}: {before.rstrip(':')}" if before.endswith(":") else heading
                link = f"lab_book/{page.name}#{anchor(heading)}"
                yield Gain(row[NAME], said, link, columns.index(MEAN) - 1, row[MEAN], row[GAIN])
        elif not cells:
            before, columns = line.strip() or before, []
