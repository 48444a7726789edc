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
    padded = _padded(cells, to_the_left=1)
    rule = ["-" * (len(cell) + 2) if not place else "-" * (len(cell) + 1) + ":" for place, cell in enumerate(padded[0])]
    text = [f"| {' | '.join(line)} |" for line in padded]
    return "\n".join([text[0], f"|{'|'.join(rule)}|", *text[1:]]) if rows else ""


def plain_table(rows: Sequence[Row], to_the_left: int = 1, ruled: bool = False) -> str:
    """Return rows as columns separated by two blanks, ruled below the header or not.

    The first columns are aligned to the left, the others to the right.
    """
    padded = _padded(_lines(rows), to_the_left)
    rules = [["-" * len(cell) for cell in padded[0]]] if ruled else []
    return "\n".join("  ".join(line).rstrip() for line in [padded[0], *rules, *padded[1:]])


def _lines(rows: Sequence[Row]) -> list[list[str]]:
    head = columns(rows)
    return [head, *([row.get(key, "") for key in head] for row in rows)]


def _padded(lines: Sequence[Sequence[str]], to_the_left: int) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        [
            cell.ljust(width) if place < to_the_left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
