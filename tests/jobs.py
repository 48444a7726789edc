"""Jobs whose recipe's files are given by the short options of the command line."""

import json

from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.tasks.job import Job


def job(config=None, distill=None, teacher=None, centres=(), prototypes=None, init=None, changes=(), **more):
    """Return a job with the settings that the short options stand for, then `changes` of the recipe."""
    changes = (*others(distill, teacher), *changes)
    return Job(config, distill, given(teacher, centres, prototypes, init, changes), **more)


def others(distill, teacher):
    """Return the settings that give every teacher of a recipe with several the same file.

    One whose network is the package's own, `package.module:callable`, is left out.
    """
    teachers = load_recipe(distill).teachers if distill and teacher else {}
    names = [name for name in list(teachers)[1:] if ":" not in teachers[name].network]
    return [f"teachers.{name}.weights={json.dumps(teacher)}" for name in names]


def taught(recipe, teacher):
    """Return a recipe read with a teacher's weights."""
    return load_recipe(recipe, given(teacher=teacher))
