"""Reads numpy's files, whose headers may announce any size."""

import mmap
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from insightface_cakd.errors import in_one_line


def map_npy(path: Path) -> np.ndarray:
    """Map a .npy file from disk; only its header is read.

    Raises:
        OSError: there is no such file.
        ValueError: it is no .npy file, or shorter than its header says.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    # A damaged header can raise any exception.
    except Exception as error:
        raise ValueError(f"{path.name}: {in_one_line(error) or type(error).__name__}") from error
    if not array.dtype.itemsize:
        raise ValueError(f"{path.name} holds {array.dtype}, items without bytes")
    return array


def map_at_random(path: Path, like: np.ndarray | np.memmap) -> np.ndarray:
    """Map a file from disk for reads here and there.

    The system then fetches a page, and not the many behind it.

    Args:
        path: the file.
        like: a map of it, which tells offset, shape and type.
    """
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # Not on Windows.
    if hasattr(content, "madvise"):
        content.madvise(mmap.MADV_RANDOM)
    return np.ndarray(like.shape, like.dtype, content, getattr(like, "offset", 0))


def read_member(archive: NpzFile, name: str, most: int) -> np.ndarray | None:
    """Return an array of an .npz file, None if there is none.

    Args:
        archive: as `numpy.load` returns it.
        name: of the array, without the suffix.
        most: bytes that it may take; zeros are compressed to a thousandth.

    Raises:
        ValueError: it takes more.
    """
    if name not in archive or archive.zip is None:
        return None
    size = archive.zip.getinfo(f"{name}.npy").file_size
    if size > most:
        raise ValueError(f"{name} takes {size} bytes, more than {most}")
    return archive[name]
