"""What every set of aligned faces is: images with labels, by index."""

from abc import ABC, abstractmethod
from functools import partial

import numpy as np

from insightface_cakd.data.images import FACE_SHAPE, decode_face


class AlignedFaces(ABC):
    """Faces and labels by index.

    Item i is `(uint8 (112, 112, 3) RGB, label)`.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read_into(self, index: int, pixels: np.ndarray) -> int:
        """Write an item where its pixels are wanted; return its label.

        Args:
            index: of the item.
            pixels: uint8 (112, 112, 3), contiguous; written.
        """

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        pixels = np.empty(FACE_SHAPE, np.uint8)
        label = self.read_into(index, pixels)
        return pixels, label


class EncodedFaces(AlignedFaces):
    """Faces that lie somewhere as encoded images.

    Raises:
        DataError: on reading an item, an unreadable image, or one of another size.
    """

    @abstractmethod
    def stored(self, index: int) -> tuple[int, bytes]:
        """Return the label of an item, and its encoded image.

        Args:
            index: of the item.
        """

    @abstractmethod
    def where(self, index: int) -> str:
        """Return what names an item in an error.

        Args:
            index: of the item.
        """

    def read_into(self, index: int, pixels: np.ndarray) -> int:
        """Decode an item to where its pixels are wanted; return its label.

        Args:
            index: of the item.
            pixels: uint8 (112, 112, 3), contiguous; written.
        """
        label, data = self.stored(index)
        decode_face(data, pixels, partial(self.where, index))
        return label
