"""Images for a step that is only timed."""

import numpy as np

from insightface_cakd.data.aligned_faces import AlignedFaces
from insightface_cakd.data.images import FACE_SHAPE

_IMAGES = 4096
_CLASSES = 64


class SyntheticFaces(AlignedFaces):
    """Noise images, each from its own seed, to time a step."""

    num_classes = _CLASSES

    def __len__(self) -> int:
        return _IMAGES

    def read_into(self, index: int, pixels: np.ndarray) -> int:
        """Draw an image; return its label.

        Args:
            index: of the item.
            pixels: uint8 (112, 112, 3); written.
        """
        pixels[...] = np.random.default_rng(index).integers(0, 256, FACE_SHAPE, dtype=np.uint8)
        return index % _CLASSES

    def labels(self) -> np.ndarray:
        """Return the label of every item."""
        return np.arange(_IMAGES) % _CLASSES
