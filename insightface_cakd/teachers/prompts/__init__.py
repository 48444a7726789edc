"""Prompts: tokens inside a frozen Transformer that learn."""

from insightface_cakd.recipe.prompts import PromptSpec
from insightface_cakd.teachers.prompts.teacher import PromptedTeacher

__all__ = ["PromptSpec", "PromptedTeacher"]
