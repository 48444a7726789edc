"""The layout of an image's tokens."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenGrid:
    """The positions of tokens on the face.

    Args:
        extra: number of tokens after the patches that have no position (prompts, class tokens).
    """

    rows: int
    columns: int
    extra: int = 0

    @property
    def count(self) -> int:
        """Return the number of tokens, including those without a position."""
        return self.rows * self.columns + self.extra

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}" + (f" + {self.extra}" if self.extra else "")
