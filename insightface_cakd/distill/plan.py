"""What a method must know of the run in which it trains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insightface_cakd.errors import RunError
from insightface_cakd.recipe.schedule import Length


@dataclass(frozen=True)
class RunPlan:
    """What a method must know of the run in which it trains.

    Args:
        length: None for a loop that does not give it, in which case no schedule may need it.
        data: the run's data folder, with which prototypes are compared; None where it is not known.
    """

    length: Length | None = None
    resumes: bool = False
    data: Path | None = None
    seed: int = 0


UNPLANNED = RunPlan()


def planned_length(cfg: Any, world_size: int) -> Length:
    """Return a run's length as arcface_torch plans it.

    An epoch has num_image // (batch_size * world_size) batches. A plan without a batch is a RunError.
    """
    batches = cfg.num_image // (cfg.batch_size * world_size)
    if batches < 1:
        raise RunError(
            f"config: num_image is {cfg.num_image} for {world_size} x {cfg.batch_size} images a step; a schedule in epochs needs at least "
            "one step in an epoch. Set num_image to the number of images."
        )
    return Length(batches, cfg.num_epoch)
