"""A teacher that looks up precomputed embeddings by the images' pixels."""

from torch import Tensor, nn

from insightface_cakd.data.embedding_cache import EmbeddingCache, image_hash, looks_altered
from insightface_cakd.teachers.base import Teacher


class CachedEmbeddings(nn.Module):
    """Answer each image with the embedding that a teacher once gave it.

    The hash is computed on the images' device; the table is searched on the CPU, which costs one synchronisation per
    batch.

    Shape:
        images: (B, 3, H, W), RGB in [-1, 1], of 8-bit pixels. Embeddings: (B, D), float32, on the images' device.
    """

    def __init__(self, cache: EmbeddingCache) -> None:
        super().__init__()
        self.cache = cache

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch."""
        hashes = image_hash(images)
        found = self.cache.find(hashes)
        if (found < 0).any():
            self.cache.refuse(found, altered=looks_altered(images))
        return self.cache.read(found).to(images.device)


class CachedTeacher(Teacher):
    """A teacher whose answers were written beforehand.

    `takes` says how the teacher that wrote them was given the pixels; images are looked up by their own.
    """

    def _coloured(self, images: Tensor) -> Tensor:
        return images
