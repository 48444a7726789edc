"""Turns pydantic's errors about a recipe into one line."""

from pydantic import BaseModel, ValidationError

from insightface_cakd.errors import did_you_mean
from insightface_cakd.recipe.head import HeadSpec
from insightface_cakd.recipe.prompts import PromptSpec
from insightface_cakd.recipe.schedule import ScheduleSpec
from insightface_cakd.recipe.student import StageSpec, StudentSpec
from insightface_cakd.recipe.teacher import CheckSpec, TeacherSpec
from insightface_cakd.recipe.urfm import PairSpec, URFMSpec

# The model of each part, by the keys that lead to it.
PARTS: dict[tuple[str, ...], type[BaseModel]] = {
    ("teacher",): TeacherSpec,
    ("teacher", "check"): CheckSpec,
    ("teacher", "prompts"): PromptSpec,
    ("student",): StudentSpec,
    ("student", "stages"): StageSpec,
    ("urfm",): URFMSpec,
    ("urfm", "more"): PairSpec,
    ("head",): HeadSpec,
    ("losses", "schedule"): ScheduleSpec,
}


def first_problem(error: ValidationError, whole: type[BaseModel]) -> str:
    """Return one line about an error, a misspelt key first."""
    problems = error.errors()
    problem = next((found for found in problems if found["type"] == "extra_forbidden"), problems[0])
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        part = PARTS.get(tuple(key for key in problem["loc"][:-1] if isinstance(key, str)), whole)
        known = list(part.model_fields)
        return f"{place} is not a key; known: {', '.join(known)}.{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{place} is missing; it must be given."
    said = problem["msg"].removeprefix("Value error, ")
    return f"{place} is {problem['input']!r}; {said[0].lower()}{said[1:]}."
