"""Entry point of a patched `train_v2.py`; see `insightface_cakd.tasks.seam`."""

from insightface_cakd.tasks.seam import enter

__all__ = ["enter"]
