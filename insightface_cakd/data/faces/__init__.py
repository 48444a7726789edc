"""Drawn faces, free for anybody to use, in tests and first runs."""

from insightface_cakd.data.faces.draw import draw_face
from insightface_cakd.data.faces.person import Person, View
from insightface_cakd.data.faces.sets import write_face_set

__all__ = ["Person", "View", "draw_face", "write_face_set"]
