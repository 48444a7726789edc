"""Checkpoints of a checkout: whole, and for another number of ranks."""

from pathlib import Path

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.generations import newest
from insightface_cakd.hosts.resharding import share_of
from insightface_cakd.runtime.ranks import rank, world_size
from tests.hosts.both_hosts import BATCH, CLASSES, SharedJob, on_checkout
from tests.ranks import run_ranks

pytestmark = pytest.mark.upstream
IMAGES = 48


def run(data: Path, output: Path, checkout: Path, lr: float, stop_after: int | None, resume: bool) -> list[float]:
    """Run two epochs on a checkout, in every rank, of which a first part and the rest may be two runs; return the rates."""
    steps = IMAGES // (BATCH * world_size())
    changes = {"num_epoch": 2, "num_image": IMAGES, "lr": lr, "weight_decay": 0.0}
    job = SharedJob(data, output, None, steps, stop_after, resume=resume, changes=changes)
    with pytest.MonkeyPatch.context() as patch:
        # As torchrun says it; the loop takes them from there.
        for name, value in {"RANK": rank(), "LOCAL_RANK": rank(), "WORLD_SIZE": world_size()}.items():
            patch.setenv(name, str(value))
        return on_checkout(job, checkout).rates


def files(output: Path) -> list[dict]:
    return [torch.load(path, weights_only=True) for path in newest(output).files]


def rows(contents: list[dict], part: str) -> torch.Tensor:
    if part == "weight":
        return torch.cat([content["state_dict_softmax_fc"]["weight"] for content in contents])
    states = [content["state_optimizer"] for content in contents]
    return torch.cat([state["state"][state["param_groups"][-1]["params"][0]]["momentum_buffer"] for state in states])


@pytest.mark.parametrize(("before", "after"), [(2, 1), (2, 3), (1, 2)])
def test_another_number_of_ranks_goes_on(before, after, face_set, tmp_path, arcface_torch):
    """With learning rate 0 the rows stay as they are."""
    output = tmp_path / "out"
    run_ranks(run, before, face_set, output, arcface_torch, 0.0, 1, False)
    first = files(output)
    assert [content["world_size"] for content in first] == [before] * before
    run_ranks(run, after, face_set, output, arcface_torch, 0.0, None, True)
    second = files(output)
    assert [content["epoch"] for content in second] == [2] * after
    assert torch.equal(rows(first, "weight"), rows(second, "weight"))
    assert rows(second, "momentum").shape == rows(first, "momentum").shape
    for number, content in enumerate(second):
        mine = share_of(CLASSES, after, number)
        assert len(content["state_dict_softmax_fc"]["weight"]) == mine.stop - mine.start
    assert not (output / f"checkpoint_gpu_{after}.pt").exists()


def test_the_schedule_goes_on_at_the_same_place_in_the_epochs(face_set, tmp_path, arcface_torch):
    whole = run_ranks(run, 1, face_set, tmp_path / "whole", arcface_torch, 0.1, None, False)[0]
    run_ranks(run, 2, face_set, tmp_path / "out", arcface_torch, 0.1, 1, False)
    rest = run_ranks(run, 1, face_set, tmp_path / "out", arcface_torch, 0.1, None, True)[0]
    steps = IMAGES // BATCH
    assert len(whole) == 2 * steps
    assert rest == pytest.approx(whole[steps:], rel=1e-6)
    assert files(tmp_path / "out")[0]["global_step"] == 2 * steps


def test_files_of_different_epochs_are_refused(face_set, tmp_path, arcface_torch):
    output = tmp_path / "out"
    run_ranks(run, 2, face_set, output, arcface_torch, 0.0, 1, False)
    content = torch.load(output / "checkpoint_gpu_1.pt", weights_only=True)
    torch.save(content | {"epoch": 2, "global_step": 4}, output / "checkpoint_gpu_1.pt")
    with pytest.raises(RunError, match="no checkpoint that all ranks have written"):
        newest(output, "resume")
