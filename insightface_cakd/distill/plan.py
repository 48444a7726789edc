"""What a method has to know of the run that it enters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insightface_cakd.errors import RunError
from insightface_cakd.recipe.schedule import Length


@dataclass(frozen=True)
class RunPlan:
    """What a method has to know of the run that it enters.

    Args:
        length: None for a loop that does not say; no schedule may need it then.
        resumes: whether the run goes on from a checkpoint.
        data: its data folder, with which prototypes are compared.
        seed: of what views draw.
    """

    length: Length | None = None
    resumes: bool = False
    data: Path | None = None
    seed: int = 0


UNPLANNED = RunPlan()


def planned_length(cfg: Any, world_size: int) -> Length:
    """Return a run's length as arcface_torch plans it: num_image // (batch_size * world_size) batches an epoch.

    Where `num_image` is not the number of images, the plan is wrong for the learning rate and for schedules alike.

    Args:
        cfg: a config with num_image, batch_size and num_epoch.
        world_size: number of ranks.

    Raises:
        RunError: the plan has no batch.
    """
    batches = cfg.num_image // (cfg.batch_size * world_size)
    if batches < 1:
        raise RunError(
            f"config: num_image is {cfg.num_image} for {world_size} x {cfg.batch_size} images a step; a schedule in epochs needs at least "
            "one step in an epoch. Set num_image to the number of images."
        )
    return Length(batches, cfg.num_epoch)
