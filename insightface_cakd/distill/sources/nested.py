"""Prefixes of an embedding that are embeddings themselves."""

from collections.abc import Sequence

from insightface_cakd.errors import RecipeError, ShapeError
from insightface_cakd.recipe import TermSpec


def nested_widths(term: TermSpec, shape: Sequence[int]) -> list[int]:
    """Return the widths of the prefixes that a term compares.

    Source: Matryoshka representations (arXiv 2205.13147); here for a term of distillation, each prefix with a projector of its own.

    Args:
        term: with `nested`.
        shape: of what it reads of the student, without the batch.

    Raises:
        ShapeError: a prefix is wider than the embedding, or nothing remains of it, or the term does not read an embedding.
    """
    where = f"term '{term.name}'.nested"
    if len(shape) != 1 or term.student is not None:
        raise ShapeError(
            f"{where}: reads {tuple(shape)} of {term.student or 'the student'}; expected the embedding itself. Remove the tap."
        )
    whole = shape[0]
    if isinstance(term.nested, int):
        widths = [whole // 2**halvings for halvings in range(term.nested, -1, -1)]
    else:
        widths = sorted(set(term.nested or ()))
    if not widths or widths[0] < 1 or widths[-1] > whole:
        raise ShapeError(
            f"{where}: {term.nested} gives widths {widths} of an embedding of {whole}; expected widths from 1 to {whole}. Set nested, or "
            "the config's embedding_size."
        )
    return widths


def require_stateless(term: TermSpec, where: str, part: str, remedy: str) -> None:
    """Refuse a term of several parts whose loss remembers batches.

    It would see the same batch once for each part.

    Args:
        term: the mean over its parts.
        where: what has parts, for the error.
        part: one of them.
        remedy: for the user.

    Raises:
        RecipeError: the loss remembers batches.
    """
    if next(term.build_loss().buffers(), None) is not None:
        raise RecipeError(
            f"{where}: {term.loss} remembers earlier batches, and would see each once for every {part}; expected a loss without memory. "
            f"{remedy}"
        )
