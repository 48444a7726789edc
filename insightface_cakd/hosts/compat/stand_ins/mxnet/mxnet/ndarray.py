"""NumPy arrays with the names of mxnet's that arcface_torch uses."""

from typing import Any

import numpy as np

from .refusal import not_served, refuse

__getattr__ = refuse("mxnet.ndarray")


class NDArray:
    """An array around a NumPy array; `asnumpy` copies, as in mxnet."""

    def __init__(self, values: np.ndarray):
        self._values = values

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._values.shape

    @property
    def dtype(self) -> type:
        """The NumPy type of the elements."""
        return self._values.dtype.type

    def asnumpy(self) -> np.ndarray:
        """Return a copy as a NumPy array."""
        return self._values.copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._values, dtype=dtype)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> "NDArray":
        return NDArray(self._values[index])

    def __setitem__(self, index: Any, values: Any) -> None:
        self._values[index] = _values(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise not_served(f"mxnet.ndarray.NDArray.{name}")


def _values(data: Any) -> np.ndarray:
    return data._values if isinstance(data, NDArray) else np.asarray(data)


def array(source_array: Any, dtype: Any = np.float32) -> NDArray:
    """Return an array with a copy of the values."""
    return NDArray(np.array(_values(source_array), dtype=dtype))


def zeros(shape: int | tuple[int, ...], dtype: Any = np.float32) -> NDArray:
    """Return an array of zeros."""
    return NDArray(np.zeros(shape, dtype=dtype))


def transpose(data: NDArray, axes: tuple[int, ...] | None = None) -> NDArray:
    """Return the array with its axes in another order; None reverses them."""
    return NDArray(np.ascontiguousarray(np.transpose(_values(data), axes)))


def flip(data: NDArray, axis: int) -> NDArray:
    """Return the array mirrored along an axis."""
    return NDArray(np.flip(_values(data), axis).copy())


def concat(*data: NDArray, dim: int = 1) -> NDArray:
    """Return the arrays concatenated along an axis."""
    return NDArray(np.concatenate([_values(part) for part in data], axis=dim))


def slice_axis(data: NDArray, axis: int, begin: int, end: int | None) -> NDArray:
    """Return the elements from `begin` up to `end` along an axis."""
    index = [slice(None)] * len(_values(data).shape)
    index[axis] = slice(begin, end)
    return NDArray(_values(data)[tuple(index)].copy())
