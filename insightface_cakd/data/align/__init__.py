"""Raw photos become aligned faces: detection, choice of the face, five-point alignment, and a report of what was left out."""

from insightface_cakd.data.align.run import Alignment, align_photos

__all__ = ["Alignment", "align_photos"]
