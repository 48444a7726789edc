"""Unpickles a verification file without running anything that it names.

InsightFace's `.bin` files are pickles, and a pickle may call any function. Here the few names that bytes, booleans and
numpy arrays need are replaced by the stand-ins below; any other name is an error.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from insightface_cakd.errors import DataError

_PLAIN = {"b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"}


class _Dtype:
    """Stands in for numpy.dtype."""

    def __init__(self, code: str | bytes, *_: Any):
        self.code = code.decode() if isinstance(code, bytes) else code
        self.big_endian = False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.big_endian = state[1] in (">", b">")

    def array(self, data: bytes) -> np.ndarray:
        if self.code not in _PLAIN:
            raise DataError(f"numpy type '{self.code}'; expected bytes, booleans or numbers")
        return np.frombuffer(data, np.dtype(self.code).newbyteorder(">" if self.big_endian else "<"))


class _Array:
    """Stands in for numpy.ndarray, flattened; a list for arrays of objects."""

    values: np.ndarray | list[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, _, dtype, _, data = state
        self.values = data if isinstance(data, list) else dtype.array(_as_bytes(data))


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(data: bytes, dtype: _Dtype, *_: Any) -> _Array:
    array = _Array()
    array.values = dtype.array(bytes(memoryview(data)))
    return array


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return dtype.array(_as_bytes(data))[0]


def _as_bytes(data: str | bytes) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else data


def _encode(text: str, *_: Any) -> bytes:
    """Stands in for _codecs.encode, which protocols 0 to 2 of Python 3 call for bytes."""
    return text.encode("latin1")


def _bytes(*content: Any) -> bytes:
    """Stands in for bytes, called without an argument for empty ones in protocols 0 to 2."""
    return bytes(content[0]) if content and isinstance(content[0], list) else b""


_ALLOWED: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _bytes,
    "builtins.bytes": _bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in _ALLOWED:
            raise DataError(f"its pickle names '{full}', which may run code; expected bytes and booleans only")
        return _ALLOWED[full]


def load_pickle(data: bytes, where: str) -> Any:
    """Return the object of a pickle of plain values, without running code.

    Containers, bytes, numbers and numpy arrays are allowed, in any protocol of Python 2 or 3. Arrays are returned as
    flat numpy arrays or lists, Python 2 strings as bytes.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(data), encoding="bytes").load())
    except DataError as error:
        raise DataError(f"{where}: {error}. Take the file from a source you trust, or make it anew.") from error
    except Exception as error:  # A broken pickle stream can raise any exception.
        reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(
            f"{where}: not a readable pickle ({reason}); expected an InsightFace .bin. Copy it again."
        ) from error


def _plain(value: Any) -> Any:
    """Replace the stand-ins by their values, recursively in lists and tuples."""
    if isinstance(value, _Array):
        return _plain(value.values)
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value
