"""Where arcface_torch's loop differs from what a config seems to say."""

from collections.abc import Iterator
from pathlib import Path

from easydict import EasyDict

from insightface_cakd.data.records import FaceRecords, has_records
from insightface_cakd.runtime.findings import Finding, note, ok
from insightface_cakd.runtime.ranks import world_size

# Below this a network from random weights has hardly begun to learn: with 20 steps a student of 300 images stays where it was.
FEW_STEPS = 100


def examine_amount(steps: int) -> Iterator[Finding]:
    """Say where a run is too short to teach anything.

    Args:
        steps: of the whole run.
    """
    if steps < FEW_STEPS:
        yield note(
            f"steps: {steps} in the whole run, few images for so few epochs; a network learns little in fewer than {FEW_STEPS}. Raise "
            "num_epoch, or add images."
        )


def examine_schedule(cfg: EasyDict) -> Iterator[Finding]:
    """Compare what a config says with what a run does."""
    m1, m2, m3 = cfg.margin_list
    if m3 > 0 and (m1 != 1 or m2 != 0):
        yield note(
            f"config: margin_list is {cfg.margin_list}, of which arcface_torch uses m3 = {m3} only (losses.py:50-53)."
        )
    if cfg.get("using_wandb") and "notes" not in cfg:
        yield note(
            "config: using_wandb is True, but notes is not set, so wandb stays off (train_v2.py:78). Set notes in the file."
        )
    if (Path(cfg.output) / "model.pt").is_file() and not cfg.resume:
        yield note(
            f"output: {cfg.output} holds another run's model.pt, which arcface_torch overwrites. Set output=DIR to keep it."
        )
    yield from _steps(cfg, cfg.batch_size * world_size())


def _steps(cfg: EasyDict, total_batch: int) -> Iterator[Finding]:
    """Compare the planned number of steps with the real one.

    The schedule plans them from the config's num_image; a run has as many as the images give.
    """
    images = len(FaceRecords(str(cfg.rec))) if has_records(str(cfg.rec)) else None
    planned = cfg.num_image // total_batch * cfg.num_epoch
    real = planned if images is None else images // total_batch * cfg.num_epoch
    if images is None or images == cfg.num_image:
        yield ok(
            f"steps: {planned} by num_image, of {total_batch} images on {world_size()} rank{'s' * (world_size() > 1)}"
        )
    else:
        rate = "falls to 0 as the run ends"
        if planned != real:
            rate = (
                "does not fall to 0" if planned > real else f"is 0 from step {planned} on" if planned else "never falls"
            )
        yield note(
            f"config: num_image is {cfg.num_image}, {cfg.rec} holds {images} images; the schedule, which counts with num_image, plans "
            f"{planned} steps and the run has {real}: its learning rate {rate}. Set num_image={images}."
        )
    yield from examine_amount(real)
    if cfg.warmup_epoch >= cfg.num_epoch:
        yield note(
            f"config: warmup_epoch is {cfg.warmup_epoch} of {cfg.num_epoch} epochs; the learning rate never falls."
        )
    if cfg.val_targets and real < cfg.verbose:
        yield note(
            f"config: verbose is {cfg.verbose}, the run has {real} steps; arcface_torch verifies every {cfg.verbose} steps, so never. "
            f"Set verbose={max(real // max(int(cfg.num_epoch), 1), 1)}."
        )
