"""Base class of tasks: data, views, loss and measure of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from insightface_cakd.distill.sources import Setting, Source
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.timm_networks import TIMM
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.named import ViewsSpec
from insightface_cakd.recipe.parts import IDENTIFICATION
from insightface_cakd.recipe.readings import reading
from insightface_cakd.report.result import Result
from insightface_cakd.views import Sides


@dataclass(frozen=True)
class DataRequest:
    """What a loop asks of `get_dataloader`.

    Args:
        folder: the config's `rec`.
        batch_size: of a rank.
        seed: of order and augmentation.
        workers: reading processes; 0 reads in this one.
        device: where batches go.
    """

    folder: Path
    batch_size: int
    seed: int
    workers: int
    device: torch.device


# Called with the step and the network; see `insightface_cakd.evaluate.protocol.Measure` for any protocol as one.
Measure = Callable[[int, nn.Module], Result]


class Task:
    """Identification: everything is left to the host.

    Other tasks override what is different. The loop of arcface_torch takes five names from its namespace, and does
    `loss = head(backbone(images), target)` whatever the target is. `data` replaces `get_dataloader`, `head` replaces `PartialFC_V2`,
    `measures` replaces `CallBackVerification`; the views are applied inside `get_model`'s network. None leaves the host's.

    Attributes:
        name: in recipes.
        has_identities: whether the target is the identity of each image.
        has_margin: whether its head puts a margin on cosines to class centres, as `PartialFC_V2` does.
        has_places: whether the target says where something is in the image, so that no view may move pixels.
        views: views of each side where the recipe names none.
        has_own_answer: whether the width of the answer is the task's, so that initial weights of another width keep all but the last layer.
        lower_is_better: whether a smaller value of its measures is a better one.
    """

    name: ClassVar[str] = IDENTIFICATION
    has_identities: ClassVar[bool] = True
    has_margin: ClassVar[bool] = True
    has_places: ClassVar[bool] = False
    has_own_answer: ClassVar[bool] = False
    lower_is_better: ClassVar[bool] = False
    views: ViewsSpec = ViewsSpec()

    @property
    def has_own_data(self) -> bool:
        """Whether its batches replace those of the host."""
        return type(self).data is not Task.data

    @property
    def has_own_measures(self) -> bool:
        """Whether its measures replace the host's verification."""
        return type(self).measures is not Task.measures

    def fill(self, cfg: Any) -> None:
        """Write into a config what follows from the task's data.

        That is the number of images and classes, and the width of the answer.

        Args:
            cfg: of the run; called before the loop starts.
        """

    def network(self, name: str, **options: Any) -> nn.Module | None:
        """Return the student's network, None for the host's of that name.

        It must be one that `get_model` of the embedded host builds by the same name, since evaluation and export rebuild it so. Networks of
        timm are among them, whatever the host.

        Args:
            name: the config's `network`.
            options: as `get_model` gets them: `num_features`, `fp16`, `dropout`.
        """
        return get_model(name, **options) if name.startswith(TIMM) else None

    def embedding(self, answer: Tensor) -> Tensor:
        """Return the embedding that terms read, from the student's answer.

        Args:
            answer: of the network in train mode.
        """
        return answer

    def prepare(self, backbone: nn.Module) -> None:
        """Change a network of the host before it is wrapped.

        The state of the network stays that of a plain one.

        Args:
            backbone: just built, with the host's initial weights.
        """

    def data(self, request: DataRequest) -> Any | None:
        """Return this rank's batches, None for the host's.

        They are `(inputs, target)` on the device, with `set_epoch` and a length.

        Args:
            request: what the loop asks for.
        """
        return None

    def target(self, images: int, width: int) -> Tensor | None:
        """Return a target for timings, None for the host's identities.

        Args:
            images: so many.
            width: of the network's answer.
        """
        return None

    def head(self, host_head: type[nn.Module]) -> type[nn.Module]:
        """Return the class that takes the place of `PartialFC_V2`.

        It is constructed like `PartialFC_V2`, and called with the student's answer and the target.

        Args:
            host_head: the host's, which identification returns.
        """
        return host_head

    def sources(self, setting: Setting) -> list[Source]:
        """Return sources of the task's own, besides those of the recipe.

        Args:
            setting: of the run, without terms.
        """
        return []

    def measures(self, folder: Path, names: list[str]) -> dict[str, Measure] | None:
        """Return the measures of a network, by the name of the set.

        None for the host's verification.

        Args:
            folder: the config's `rec`.
            names: the config's `val_targets`.
        """
        return None


def own_batches(task: Task, request: DataRequest) -> Any | None:
    """Return a task's batches, None for the host's.

    Raises:
        RunError: what the task gives can be no loader of a loop.
    """
    batches = task.data(request)
    lacks = [
        name for name in ("__iter__", "__len__", "set_epoch") if batches is not None and not hasattr(batches, name)
    ]
    if lacks:
        raise RunError(
            f"task {task.name}: its data, a {type(batches).__name__}, have no {lacks[0]}; expected batches with a length and set_epoch, as "
            "insightface_cakd.tasks.batches.TaskBatches. Add it."
        )
    return batches


def head_of(task: Task, host_head: type[nn.Module]) -> type[nn.Module]:
    """Return the class of a task's head.

    Raises:
        RunError: it is no class of modules.
    """
    head = task.head(host_head)
    if not (isinstance(head, type) and issubclass(head, nn.Module)):
        raise RunError(
            f"task {task.name}: its head is a {type(head).__name__}; expected a class of torch.nn.Module. Return the class."
        )
    return head


def sides_of(recipe: Recipe, task: Task, seed: int = 0) -> Sides | None:
    """Return what each side sees: by the recipe's views, else the task's."""
    return Sides.of(recipe.views if recipe.views != ViewsSpec() else task.views, seed)


def check_task(recipe: Recipe, task: Task) -> None:
    """Check that a recipe's terms and views suit its task's target."""
    sides = sides_of(recipe, task)
    for view in [*sides.both, *sides.student] if sides is not None and task.has_places else ():
        if getattr(view, "moves_pixels", False):
            raise RecipeError(
                f"recipe: views: {type(view).__name__} moves pixels, and the target of task {task.name} would not follow; expected views "
                "that leave every pixel in its place. Remove it."
            )
    by_class = next((term.name for term in recipe.terms if reading(term.reading).by_class), None)
    if not (task.has_identities and task.has_margin) and (by_class is not None or recipe.head is not None):
        part = "head" if by_class is None else f"term '{by_class}'"
        lack = "a margin on class centres for every image" if task.has_margin else "a margin on class centres"
        raise RecipeError(
            f"recipe: {part} needs a head with {lack}, and that of task {task.name} has none; expected terms on embeddings, maps or "
            "centre_logits. Remove it."
        )
    needs = next((term.name for term in recipe.terms if term.facts.needs_labels), None)
    if not task.has_identities and needs is not None:
        raise RecipeError(
            f"recipe: term '{needs}' needs the identity of each image, and task {task.name} has none; expected terms on embeddings or "
            "maps. Remove it."
        )
