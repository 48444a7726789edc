"""Teacher embeddings on disk, found again by a hash of the image's pixels.

A training loop hands over flipped images without saying which they are, so the content itself is the address. A cache
is a folder: `keys.npy` (sorted int64 hashes, each once), `rows.npy` (for each key, the row of its embedding),
`embeddings.f16` (rows of float16, memory-mapped) and `meta.json` (whose embeddings, of which data).
"""

from insightface_cakd.data.embedding_cache.hashing import image_hash, looks_altered
from insightface_cakd.data.embedding_cache.reading import CacheMeta, EmbeddingCache
from insightface_cakd.data.embedding_cache.writing import write_cache

__all__ = ["CacheMeta", "EmbeddingCache", "image_hash", "looks_altered", "write_cache"]
