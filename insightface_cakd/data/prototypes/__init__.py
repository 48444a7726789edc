"""What a teacher makes of a training set: one direction for each identity, and which others are most like it.

A folder: `prototypes.npy` (C, D) float32, unit rows; `hardest.npy` (C, K) int32, for each identity the K others of highest cosine, the
highest first; `images.npy` (C,) int64, how many images each row is the mean of; and `meta.json` (whose, of which data).
"""

from insightface_cakd.data.prototypes.mining import nearest_others
from insightface_cakd.data.prototypes.reading import META, Prototypes, PrototypesMeta
from insightface_cakd.data.prototypes.writing import save_prototypes, write_prototypes

__all__ = ["META", "Prototypes", "PrototypesMeta", "nearest_others", "save_prototypes", "write_prototypes"]
