"""Jobs whose recipe's files are given by the short options of the command line."""

from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.tasks.job import Job


def job(config=None, distill=None, teacher=None, centres=(), prototypes=None, init=None, **more):
    """Return a job with the settings that the short options stand for."""
    return Job(config, distill, given(teacher, centres, prototypes, init), **more)


def taught(recipe, teacher):
    """Return a recipe read with a teacher's weights."""
    return load_recipe(recipe, given(teacher=teacher))
