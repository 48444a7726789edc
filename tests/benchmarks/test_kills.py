"""Killed runs: what counts as equal, and a few kills of the command that does many."""

import shutil
from contextlib import nullcontext
from random import Random
from types import SimpleNamespace

import pytest
import torch

from benchmarks import kills as killing
from benchmarks.kills import CASES, MOMENTS, differences, kills
from benchmarks.small_runs import family, log_of, prepare
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded import train_v2
from tests.hosts.embedded.jobs import small_job


def test_one_bit_of_a_checkpoint_is_a_difference(face_set, tmp_path):
    train_v2.main(small_job(face_set, tmp_path / "whole", num_epoch=1))
    shutil.copytree(tmp_path / "whole", tmp_path / "other")
    assert differences(tmp_path / "whole", tmp_path / "other", ranks=1) == []
    content = torch.load(tmp_path / "other" / "checkpoint_gpu_0.pt", weights_only=True)
    rows = content["state_dict_softmax_fc"]["weight"]
    rows[0, 0] = torch.nextafter(rows[0, 0], rows.new_tensor(9.0))
    torch.save(content, tmp_path / "other" / "checkpoint_gpu_0.pt")
    assert differences(tmp_path / "whole", tmp_path / "other", ranks=1) == ["checkpoint_gpu_0.pt"]


def test_the_cases_have_one_rank_and_two_and_loaders_with_and_without_workers():
    assert {case.ranks for case in CASES} == {1, 2}
    assert {case.workers for case in CASES} == {0, 2}
    assert {case.network for case in CASES} == {"cnn_tiny", "vit_tiny"}


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "something").write_text("")
    with pytest.raises(RunError, match="not empty; expected a new folder"):
        prepare(tmp_path)


def test_a_process_that_ended_has_no_family():
    assert family(2**30) == [2**30]


@pytest.mark.slow
def test_killed_runs_end_bit_for_bit_like_runs_that_were_not(tmp_path):
    """One in each kind of moment would need as many whole runs as cases; these are of the first case, on one rank."""
    found = list(kills(tmp_path / "runs", times=len(MOMENTS), seed=1, cases=CASES[:1]))
    assert [kill.moment for kill in found] == list(MOMENTS)
    assert all(not kill.faults for kill in found), found


def test_what_was_killed_before_its_first_checkpoint_is_started_anew_whatever_a_launcher_says_behind_it(
    tmp_path, monkeypatch
):
    started = []

    def run_to_its_end(case, files, output, resume):
        started.append(resume)
        if resume:
            said = "cakd: error: --resume: there is none. Start it without --resume.\n" + "launcher\n" * 40
            log_of(output, resume).write_text(said)
            raise RunError(f"kills: ended with 1: {said[-100:]}")

    monkeypatch.setattr(killing, "process", lambda *_, **__: nullcontext((SimpleNamespace(pid=0, wait=int), None)))
    monkeypatch.setattr(killing, "wait_for", lambda *_: 3)
    monkeypatch.setattr(killing, "kill_all", lambda pid: None)
    monkeypatch.setattr(killing, "run_to_its_end", run_to_its_end)
    monkeypatch.setattr(killing, "differences", lambda *_: [])
    found = killing.kill_once(CASES[0], "training", tmp_path, tmp_path / "killed 0", tmp_path / "whole 0", Random(0))
    assert (started, found.after, found.faults) == ([True, False], 3, [])
