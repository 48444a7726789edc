"""Unpickles a verification file without running anything that it names.

InsightFace's `.bin` files are pickles, and a pickle may call any function. Here the few names that bytes, booleans and
numpy arrays need are replaced by the stand-ins below; any other name is an error. A pickle of a few bytes may also ask for
gigabytes or hours: what it does is counted before it is done.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from insightface_cakd.errors import DataError

# 300 MB as empty lists; a set of numpy arrays has 10 to 20 for each image.
_MOST_STEPS = 4_000_000
# A pair, its sequences, their arrays, and arrays of objects that hold those.
_DEEPEST = 6
# No part of a verification set, and with keys whose hash may take for ever, or code of others.
_REFUSED = {
    *("DICT", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET"),
    *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"),
}
_STEPS = {step.code: step for step in pickletools.opcodes}
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
    array.values = dtype.array(data)
    return array


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return dtype.array(_as_bytes(data))[0]


def _as_bytes(data: str | bytes) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else data


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
    "__builtin__.bytes": _bytes,
    "builtins.bytes": _bytes,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._left = len(data)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full == "_codecs.encode":
            return self._encode
        if full not in _ALLOWED:
            raise DataError(f"its pickle names '{full}', which may run code; expected bytes and booleans only")
        return _ALLOWED[full]

    def _encode(self, text: str, *_: Any) -> bytes:
        """Stands in for _codecs.encode, which protocols 0 to 2 of Python 3 call for bytes."""
        self._left -= len(text)
        if self._left < 0:
            raise DataError("its pickle makes more bytes than it has; expected each image once")
        return text.encode("latin1")


def load_pickle(data: bytes, where: str) -> Any:
    """Return the object of a pickle of plain values, without running code.

    Sequences, bytes, numbers and numpy arrays are allowed, in any protocol of Python 2 or 3. Arrays are returned as
    flat numpy arrays or lists, Python 2 strings as bytes.

    Raises:
        DataError: it is no pickle, names anything else, or takes more memory or time than a verification set of its length.
    """
    try:
        _check_steps(data)
        return _Plain(len(data)).of(_Unpickler(data).load())
    except DataError as error:
        raise DataError(f"{where}: {error}. Take the file from a source you trust, or make it anew.") from error
    except Exception as error:  # A broken pickle stream can raise any exception.
        reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(
            f"{where}: not a readable pickle ({reason}); expected an InsightFace .bin. Copy it again."
        ) from error


def _check_steps(data: bytes) -> None:
    """Refuse steps that cost more than their bytes; lengths are checked on the way."""
    for number, (name, argument) in enumerate(_steps(io.BytesIO(data))):
        if name in _REFUSED:
            raise DataError(f"its pickle has a step {name}; expected lists of bytes and booleans only")
        if number >= _MOST_STEPS:
            raise DataError(f"its pickle has more than {_MOST_STEPS} steps; expected fewer, some for each image")
        # Python counts what it stores; a place far behind takes memory for all before it.
        if name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > number:
            raise DataError(
                f"its pickle stores at place {argument} after {number} steps; expected one place after the other"
            )


def _steps(file: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """Yield name and argument of each step, up to one that is unknown."""
    while (step := _STEPS.get(file.read(1).decode("latin1"))) is not None:
        if step.name == "STRING":
            # pickletools takes ASCII only, and Python 2 wrote images so.
            yield step.name, file.readline()
        else:
            yield step.name, None if step.arg is None else step.arg.reader(file)
        if step.name == "STOP":
            return


class _Plain:
    """Replaces the stand-ins by their values, in lists and tuples.

    Args:
        most: so many values at most; a list that is named in many places counts in each.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return a value without stand-ins."""
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise DataError("its pickle has lists within lists; expected one of images and one of booleans")
        if isinstance(value, _Array):
            return self.of(value.values, depth + 1)
        if isinstance(value, (list, tuple)):
            return type(value)(self.of(item, depth + 1) for item in value)
        return value
