"""A run goes on with another number of ranks: its next loss is that of the run that was not stopped, for every tiny recipe."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.recipe import load_recipe
from insightface_cakd.runtime.ranks import barrier, rank, world_size
from tests.hosts.both_hosts import StoppedError
from tests.ranks import run_ranks
from tests.tasks.task_data import task_data
from tests.tasks.tiny_runs import FOR_TINY, distil, make_teacher_files

pytestmark = pytest.mark.slow

BATCH = 12
DRAWN = [recipe for recipe in FOR_TINY if load_recipe(recipe).views is not None]
PAIRS = [(1, 2), (2, 1), (2, 3), (3, 2), (2, 2)]


def everyone(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in the order of the ranks."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def without_chance(student: nn.Module) -> None:
    """Let nothing of a student depend on how a batch is divided: running statistics, and no dropout."""
    for module in student.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
        for name in ("p", "drop_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


class Watched:
    """A run's steps; ends it with the first of the second epoch, whose batch is given or kept, and whose loss it notes."""

    def __init__(self, given: list[Tensor] | None) -> None:
        self.given, self.kept, self.loss = given, given, float("nan")

    def train_epoch(self, parts: Any, epoch: int, *more: Any) -> bool:
        without_chance(parts.student)
        if epoch == 0:
            return plain_epoch(parts, epoch, *more)
        parts.loader.set_epoch(epoch, parts.done)
        batch = self.own(next(iter(parts.loader)))
        loss = train_v2.backward(parts, (batch[0], *batch[2:]), batch[1], 1).detach()
        self.loss = float(everyone(loss.reshape(1)).mean())
        raise StoppedError

    def own(self, batch: list[Tensor]) -> list[Tensor]:
        if self.given is None:
            self.kept = [everyone(part) for part in batch]
            return batch
        return [part.chunk(world_size())[rank()] for part in self.given]


plain_epoch = train_v2.train_epoch


def losses(recipes: list[str], files: dict[str, str], data: dict[str, str], folder: Path, source: Path | None) -> Any:
    """Return each recipe's loss after an epoch, and the batch of all ranks; runs in every rank.

    Args:
        source: folder of the runs to go on with; they are started if None.
    """
    found = {}
    for recipe in recipes:
        output = folder / recipe
        if source is not None and rank() == 0:
            shutil.copytree(source / recipe, output)
        barrier()
        watched = Watched(None if source is None else torch.load(source / recipe / "batch.pt", weights_only=True))
        size = BATCH // world_size()
        # What views draw is a draw of the rank: these draw nothing.
        fixed = ("views.student=[{kind: low_resolution, sizes: 14}]",) if recipe in DRAWN else ()
        fixed += ("views.both=[mirror]",) if load_recipe(recipe).views.both else ()
        changes = (f"batch_size={size}", "num_epoch=2", "save_all_states=True", "val_targets=[]")
        with pytest.MonkeyPatch.context() as patch:
            # As torchrun says them.
            patch.setenv("WORLD_SIZE", str(world_size()))
            patch.setenv("RANK", str(rank()))
            patch.setattr(train_v2, "train_epoch", watched.train_epoch)
            try:
                distil(
                    recipe, files, data[recipe], output, settings=changes, overrides=fixed, resume=source is not None
                )
            except StoppedError:
                found[recipe] = watched.loss
            except CAKDError as error:
                found[recipe] = str(error)
        if source is None and rank() == 0 and watched.kept is not None:
            torch.save(watched.kept, output / "batch.pt")
        barrier()
    return found


@pytest.fixture(scope="module")
def prepared(face_set, tmp_path_factory) -> tuple[dict[str, str], dict[str, str], Path]:
    folder = tmp_path_factory.mktemp("other ranks")
    (folder / "teacher").mkdir()
    data = {
        recipe: str(task_data(load_recipe(recipe).task.kind, face_set, folder / "data" / recipe)) for recipe in FOR_TINY
    }
    return make_teacher_files(face_set, folder / "teacher"), data, folder


@pytest.fixture(scope="module")
def uninterrupted(prepared) -> dict[int, dict[str, Any]]:
    files, data, folder = prepared
    return {world: run_ranks(losses, world, FOR_TINY, files, data, folder / str(world), None)[0] for world in (1, 2, 3)}


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_the_next_loss_is_that_of_the_uninterrupted_run(before, after, uninterrupted, prepared):
    files, data, folder = prepared
    known = uninterrupted[before]
    found = run_ranks(losses, after, FOR_TINY, files, data, folder / f"{before} to {after}", folder / str(before))[0]
    refused = {recipe: said for recipe, said in {**known, **found}.items() if isinstance(said, str)}
    assert not refused
    assert found == pytest.approx(known, rel=1e-5)
