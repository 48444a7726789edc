"""The name by which a patched `train_v2.py` enters; see `insightface_cakd.tasks.seam`."""

from insightface_cakd.tasks.seam import enter

__all__ = ["enter"]
