"""The name by which a patched `train_v2.py` enters; see `insightface_cakd.tasks.entering`."""

from insightface_cakd.tasks.entering import enter

__all__ = ["enter"]
