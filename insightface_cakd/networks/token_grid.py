"""How the tokens of an image lie: the one shape that a prompted teacher and the receptive fields both speak of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenGrid:
    """Where tokens lie on the face.

    Args:
        rows: of the patches.
        columns: of the patches.
        extra: tokens behind the patches that have no place (prompts, class tokens).
    """

    rows: int
    columns: int
    extra: int = 0

    @property
    def count(self) -> int:
        """Return the number of tokens, those without a place included."""
        return self.rows * self.columns + self.extra

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}" + (f" + {self.extra}" if self.extra else "")
