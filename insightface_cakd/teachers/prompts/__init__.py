"""Prompts: tokens inside a frozen Transformer that learn.

They learn with the student, to make the Transformer a better teacher.
"""

from insightface_cakd.recipe.prompts import PromptSpec
from insightface_cakd.teachers.prompts.teacher import PromptedTeacher

__all__ = ["PromptSpec", "PromptedTeacher"]
