"""Teacher embeddings on disk, looked up by a hash of the pixels.

A training loop passes flipped images without saying which they are, so the content itself is the address. A cache is a
folder: `keys.npy` (int64 hashes, sorted and unique), `rows.npy` (for each key, the row of its embedding),
`embeddings.f16` (rows of float16) or `embeddings.i8` (see `Int8`), and `meta.json` (which teacher, which data). All are
memory-mapped.
"""

from insightface_cakd.data.embedding_cache.hashing import image_hash, looks_altered
from insightface_cakd.data.embedding_cache.reading import CacheMeta, EmbeddingCache
from insightface_cakd.data.embedding_cache.storage import FLOAT16, INT8, STORAGES
from insightface_cakd.data.embedding_cache.writing import write_cache

__all__ = [
    "FLOAT16",
    "INT8",
    "STORAGES",
    "CacheMeta",
    "EmbeddingCache",
    "image_hash",
    "looks_altered",
    "write_cache",
]
