"""What a measurement came to, whatever was measured: a table, the sentences under it, and numbers for JSON."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from insightface_cakd.report.tables import Row, markdown_table


@dataclass(frozen=True)
class Drawing:
    """A picture in the text of a page.

    Args:
        title: its first words.
        caption: what is to be seen.
        svg: an `<svg>` element whose ids are its own in the page.
    """

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Args:
        title: of the part.
        rows: of a table.
        picture: a .png.
        caption: of the picture, in sentences.
        notes: paragraphs below the table.
        drawings: below them.
    """

    title: str
    rows: Sequence[Row] = ()
    picture: bytes | None = None
    caption: Sequence[str] = ()
    notes: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()


class Result(ABC):
    """What a measurement came to; what answers these three is printed, put into a page, into JSON and into a comparison."""

    @property
    def value(self) -> float | None:
        """The one number by which a run keeps its best network; None if there is none."""
        return None

    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """Return the table: column -> cell in each row."""

    @abstractmethod
    def lines(self) -> Sequence[str]:
        """Return the sentences below the table: how it was measured, what is missing."""

    @abstractmethod
    def facts(self) -> Any:
        """Return all numbers as what JSON can hold, not rounded."""

    def sections(self) -> list[Section]:
        """Return the parts of the text."""
        return [Section("Result", self.rows(), notes=self.lines())]

    def drawings(self) -> Sequence[Drawing]:
        """Return pictures for a page."""
        return ()

    def text(self) -> str:
        """Return tables and sentences as Markdown that is aligned when read as it stands."""
        parts = [part for one in self.sections() for part in (markdown_table(one.rows), "\n".join(one.notes))]
        return "\n\n".join(filter(None, parts)) + "\n"


class SectionedResult(Result):
    """A result of several tables, which says its sections; `rows` are those of the first table, `lines` all sentences."""

    @abstractmethod
    def sections(self) -> list[Section]:
        """Return the tables, each with its sentences."""

    def rows(self) -> Sequence[Row]:
        """Return the first table."""
        return next(section.rows for section in self.sections() if section.rows)

    def lines(self) -> Sequence[str]:
        """Return all sentences."""
        return [line for section in self.sections() for line in section.notes]
