"""Tables as text: aligned Markdown, and plain columns for a terminal."""

from collections.abc import Mapping, Sequence

Row = Mapping[str, str]


def columns(rows: Sequence[Row]) -> list[str]:
    """Return all columns, in the order in which they first appear."""
    return list(dict.fromkeys(key for row in rows for key in row))


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table; no rows give an empty text.

    The first column is aligned to the left, the others to the right. A cell that a row lacks stays empty. `|` and line
    ends within a cell are escaped, so that each cell stays in its column.
    """
    cells = [[" ".join(cell.replace("|", r"\|").split()) for cell in line] for line in _lines(rows)]
    padded = _padded(cells)
    rule = ["-" * (len(cell) + 2) if not place else "-" * (len(cell) + 1) + ":" for place, cell in enumerate(padded[0])]
    text = [f"| {' | '.join(line)} |" for line in padded]
    return "\n".join([text[0], f"|{'|'.join(rule)}|", *text[1:]]) if rows else ""


def plain_table(rows: Sequence[Row]) -> str:
    """Return rows as columns two blanks apart, the first to the left."""
    return "\n".join("  ".join(line).rstrip() for line in _padded(_lines(rows)))


def _lines(rows: Sequence[Row]) -> list[list[str]]:
    head = columns(rows)
    return [head, *([row.get(key, "") for key in head] for row in rows)]


def _padded(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pad cells to their column's width, those of the first column on the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        [
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
