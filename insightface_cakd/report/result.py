"""The result of any measurement: a table, sentences and numbers for JSON."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from insightface_cakd.report.tables import Row, markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from insightface_cakd.report.colours import Colours


@dataclass(frozen=True)
class Drawing:
    """A plot of a page.

    Args:
        title: below the plot.
        caption: after the title.
        draw: makes the figure, with each model in its colour of the page.
        alt: what there is to see, for those who do not see it.
    """

    title: str
    caption: str
    draw: "Callable[[Colours], Figure]"
    alt: str


@dataclass(frozen=True)
class Picture:
    """A wide .png with its caption, in sentences."""

    png: bytes
    caption: Sequence[str]
    alt: str


@dataclass(frozen=True)
class Tile:
    """Small pictures side by side, with the words below them.

    Args:
        jpegs: the bytes of each.
        words: short, such as a score.
        alt: what there is to see.
    """

    jpegs: Sequence[bytes]
    words: str
    alt: str


@dataclass(frozen=True)
class Gallery:
    """Tiles with a caption; an empty one says nothing."""

    title: str
    caption: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    title: str
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    galleries: Sequence[Gallery] = ()
    picture: Picture | None = None


class Result(ABC):
    """The result of a measurement.

    A subclass defines `rows`, `lines` and `facts`; it can then be printed, put into a page, written as JSON and
    compared. A page begins with its `verdict`.
    """

    @property
    def value(self) -> float | None:
        """The number by which a run keeps its best network, if any."""
        return None

    @property
    def verdict(self) -> str:
        """The sentence that answers what was asked, if any."""
        return ""

    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """Return the table, each row as column -> cell."""

    @abstractmethod
    def lines(self) -> Sequence[str]:
        """Return the sentences below the table.

        They say how it was measured, and which numbers are missing.
        """

    @abstractmethod
    def facts(self) -> Any:
        """Return all numbers, not rounded, as values that JSON can represent."""

    def sections(self) -> list[Section]:
        """Return the sections of the report."""
        return [Section("Result", self.rows(), notes=self.lines())]

    def drawings(self) -> Sequence[Drawing]:
        """Return the plots for a page."""
        return ()

    def galleries(self) -> Sequence[Gallery]:
        """Return the faces for a page."""
        return ()

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return tables and sentences as Markdown, aligned in the source too."""
        parts = [part for one in self.sections() for part in (markdown_table(one.rows), "\n".join(one.notes))]
        return "\n\n".join(filter(None, parts)) + "\n"


class SectionedResult(Result):
    """A result of several tables, which defines its sections.

    `rows` are those of the first table, `lines` the sentences of all.
    """

    @abstractmethod
    def sections(self) -> list[Section]:
        """Return the tables, each with its sentences."""

    def rows(self) -> Sequence[Row]:
        """Return the first table."""
        return next(section.rows for section in self.sections() if section.rows)

    def lines(self) -> Sequence[str]:
        """Return the sentences of all tables."""
        return [line for section in self.sections() for line in section.notes]
