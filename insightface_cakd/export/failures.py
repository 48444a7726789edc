"""Turns the exceptions of foreign code into one line for the user."""

from collections.abc import Iterator
from contextlib import contextmanager

from insightface_cakd.errors import ExportError, in_one_line


@contextmanager
def refusing(problem: str, expected: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """Re-raise what happens meanwhile as `problem (reason); expected ...`.

    onnx, onnxruntime, insightface and protobuf share no base class but Exception.
    """
    try:
        yield
    except kind as error:
        reason = in_one_line(error)[:200]
        raise ExportError(f"{problem} ({reason}); expected {expected}") from error
