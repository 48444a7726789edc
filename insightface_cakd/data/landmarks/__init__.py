"""Images with landmarks: lists, folders, records, crops, mirrors."""

from insightface_cakd.data.landmarks.points import PointSet
from insightface_cakd.data.landmarks.sets import read_points

__all__ = ["PointSet", "read_points"]
