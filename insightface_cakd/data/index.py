"""Reads `train.idx`, the text file that gives the offset of each record."""

import os
import warnings

import numpy as np

from insightface_cakd.errors import DataError


def read_index(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and offsets in bytes, both int64 (N,), in the file's order."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = np.loadtxt(path, dtype=np.int64, comments=None, ndmin=2)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or 'not found'}). It belongs beside train.rec."
        ) from error
    except UserWarning as error:
        raise DataError(f"{path}: holds no records; expected a line `key<TAB>offset` for each. Pack again.") from error
    except (ValueError, OverflowError, DeprecationWarning) as error:
        reason = str(error).split("\n")[0].split("; ")[0].rstrip(".")
        raise DataError(f"{path}: {reason}; expected lines `key<TAB>offset`. Make the index anew.") from error
    if table.shape[1] != 2:
        raise DataError(
            f"{path}: {table.shape[1]} numbers a line; expected two, `key<TAB>offset`. Make the index anew."
        )
    return table[:, 0].copy(), table[:, 1].copy()
