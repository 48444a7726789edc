"""Drawn faces: data that anybody may use, for tests and for a first run."""

from insightface_cakd.data.faces.draw import draw_face
from insightface_cakd.data.faces.person import Person, View
from insightface_cakd.data.faces.sets import write_face_set

__all__ = ["Person", "View", "draw_face", "write_face_set"]
