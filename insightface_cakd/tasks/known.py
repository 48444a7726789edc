"""The tasks that recipes know by name."""

from collections.abc import Sequence

from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.recipe.named import NamedSpec, ViewsSpec
from insightface_cakd.runtime.objects import construct, import_object, is_place
from insightface_cakd.tasks.landmarks import Landmarks
from insightface_cakd.tasks.liveness import Liveness
from insightface_cakd.tasks.periocular import Periocular
from insightface_cakd.tasks.synthetic import Synthetic
from insightface_cakd.tasks.task import Task, check_task
from insightface_cakd.tasks.triplets import Triplets
from insightface_cakd.tasks.unlabelled import Unlabelled

TASKS: dict[str, type[Task]] = {
    kind.name: kind for kind in (Task, Landmarks, Triplets, Liveness, Periocular, Synthetic, Unlabelled)
}


def make_task(spec: NamedSpec) -> Task:
    """Return the task that a recipe names, or an outsider's `package.module:Class`."""
    where = f"recipe: task {spec.kind}"
    if spec.kind in TASKS:
        kind = TASKS[spec.kind]
    elif is_place(spec.kind):
        kind = import_object(spec.kind, "recipe: task", "task")
    else:
        raise RecipeError(
            f"{where}: not known; known: {', '.join(TASKS)}, or package.module:Class.{did_you_mean(spec.kind, TASKS)}"
        )
    task = construct(kind, spec.options, where, RecipeError)
    if not isinstance(task, Task):
        raise RecipeError(
            f"{where}: no Task; expected a subclass of insightface_cakd.tasks.task.Task. Derive it from that."
        )
    if not isinstance(task.views, ViewsSpec):
        raise RecipeError(f"{where}: its views are a {type(task.views).__name__}; expected a ViewsSpec. Correct them.")
    return task


def named_task(distill: str | None, settings: Sequence[str]) -> Task:
    """Return the task of a recipe by name, identification for none."""
    return Task() if distill is None else task_of(load_recipe(distill, settings))


def task_of(recipe: Recipe) -> Task:
    """Return a recipe's task; it has what the terms need."""
    task = make_task(recipe.task)
    check_task(recipe, task)
    return task
