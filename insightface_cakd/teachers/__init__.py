"""Teachers: torch networks, ONNX, TorchScript, cached embeddings."""

from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.teachers.base import Teacher
from insightface_cakd.teachers.build import build_teacher
from insightface_cakd.teachers.centres import load_centres
from insightface_cakd.teachers.prompts.teacher import PromptedTeacher

__all__ = ["PromptedTeacher", "Teacher", "TeacherSpec", "build_teacher", "load_centres"]
