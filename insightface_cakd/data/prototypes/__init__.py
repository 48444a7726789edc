"""A teacher's prototypes of a training set, and the hardest other identities.

A prototype is the teacher's direction for one identity. They are stored in a folder: `prototypes.npy` (C, D) float32,
unit rows; `hardest.npy` (C, K) int32, for each identity the K others of highest cosine, the highest first; `images.npy`
(C,) int64, the number of images that each row is the mean of; and `meta.json` (which teacher, which data).
"""

from insightface_cakd.data.prototypes.mining import nearest_others
from insightface_cakd.data.prototypes.reading import META, Prototypes, PrototypesMeta
from insightface_cakd.data.prototypes.writing import save_prototypes, write_prototypes

__all__ = ["META", "Prototypes", "PrototypesMeta", "nearest_others", "save_prototypes", "write_prototypes"]
