"""The files of a checkpoint: a kill at any moment leaves one that all ranks have written."""

import itertools
import os
import shutil

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts import generations
from insightface_cakd.hosts.generations import Moment, checkpoint_path, newest, settle

PER_EPOCH = 5


def content(epoch, ranks, **more):
    """Return a small checkpoint; without `ranks` as arcface_torch writes it."""
    saved = {"epoch": epoch, "global_step": epoch * PER_EPOCH, "state_dict_backbone": {"w": torch.full((2,), epoch)}}
    saved |= {"state_dict_softmax_fc": {}, "state_optimizer": {}, "state_lr_scheduler": {}}
    return saved | ({"world_size": ranks} if ranks else {}) | more


def next_path(folder, rank):
    return folder / f"checkpoint_gpu_{rank}.next.pt"


def moments_of_a_save(folder, before, after):
    """Yield the folder at each moment of a save, ranks in every order: `before` ranks saved epoch 1, `after` save epoch 2."""
    orders = list(itertools.permutations(range(after)))
    for number, (writes, renames) in enumerate(itertools.product(orders, orders)):
        place = folder / str(number)
        place.mkdir()
        for rank in range(before):
            torch.save(content(1, before), checkpoint_path(place, rank))
        for done, rank in enumerate(writes, start=1):
            torch.save(content(2, after), next_path(place, rank))
            yield place, 2 if done == after else 1
        for rank in renames:
            os.replace(next_path(place, rank), checkpoint_path(place, rank))
            yield place, 2
        for rank in range(after, before):
            checkpoint_path(place, rank).unlink()
            yield place, 2


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (3, 3), (1, 2), (2, 1), (2, 3), (3, 2)])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(before, after, tmp_path):
    """The new one as soon as all ranks have written it, until then the old one; never a mixture."""
    tried = 0
    for place, epoch in moments_of_a_save(tmp_path, before, after):
        generation = newest(place)
        assert generation.moment == Moment(epoch, epoch * PER_EPOCH)
        assert len(generation.files) == (after if epoch == 2 else before)
        assert {generation.read(rank)["epoch"] for rank in range(len(generation.files))} == {epoch}
        copy = tmp_path / "copy"
        shutil.copytree(place, copy)
        settle(copy, newest(copy))
        assert newest(copy).moment == generation.moment
        assert not list(copy.glob("*.next.pt"))
        shutil.rmtree(copy)
        tried += 1
    assert tried >= before + after


def test_files_of_different_epochs_are_refused_by_name(tmp_path):
    for rank, epoch in enumerate((3, 4)):
        torch.save(content(epoch, 2), checkpoint_path(tmp_path, rank))
    expected = r"checkpoint_gpu_0.pt: epoch 3, step 15 of 2 ranks; checkpoint_gpu_1.pt: epoch 4, step 20 of 2 ranks\); expected the same"
    with pytest.raises(RunError, match=expected):
        newest(tmp_path)


def test_files_of_arcface_torch_are_of_as_many_ranks_as_there_are(tmp_path):
    for rank in range(2):
        torch.save(content(3, None), checkpoint_path(tmp_path, rank))
    assert len(newest(tmp_path).files) == 2
    torch.save(content(2, None), checkpoint_path(tmp_path, 1))
    with pytest.raises(RunError, match="epoch 3, step 15; .*epoch 2, step 10"):
        newest(tmp_path)


def test_a_lost_file_is_refused(tmp_path):
    torch.save(content(1, 2), checkpoint_path(tmp_path, 1))
    with pytest.raises(RunError, match="no checkpoint that all ranks have written"):
        newest(tmp_path)


def test_the_remains_of_a_first_checkpoint_are_none_and_a_new_run_removes_them(tmp_path):
    torch.save(content(1, 2), next_path(tmp_path, 0))
    assert not generations.exists(tmp_path)
    with pytest.raises(RunError, match="Start it without --resume"):
        newest(tmp_path)
    settle(tmp_path, None)
    assert not list(tmp_path.iterdir())


def test_a_first_checkpoint_that_is_whole_counts_before_its_files_are_renamed(tmp_path):
    for rank in range(2):
        torch.save(content(1, 2), next_path(tmp_path, rank))
    assert generations.exists(tmp_path)
    assert newest(tmp_path).moment.epoch == 1


def test_a_file_in_torchs_older_format_is_read(tmp_path):
    torch.save(content(1, 1), checkpoint_path(tmp_path, 0), _use_new_zipfile_serialization=False)
    assert newest(tmp_path).read(0, lazily=True)["epoch"] == 1


def test_an_empty_or_missing_folder_has_no_checkpoint(tmp_path):
    assert not generations.exists(tmp_path)
    assert not generations.exists(tmp_path / "nowhere")
