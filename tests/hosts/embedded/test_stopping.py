"""Runs that a cluster stops: SIGTERM ends a run after its step, and it goes on to the same weights."""

import os
import signal
import threading

import pytest
import torch

from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.dataset import get_dataloader
from insightface_cakd.runtime.stopping import STOPPED, stop_requests
from tests.hosts.embedded.jobs import small_job

STUDENTS = [
    pytest.param({}, id="cnn"),
    pytest.param({"gradient_acc": 2, "batch_size": 6}, id="accumulated gradients"),
    # Sampled classes and dropped tokens are random numbers of every step.
    pytest.param({"network": "vit_tiny", "sample_rate": 0.5, "num_workers": 2}, id="random numbers, workers"),
    pytest.param({"network": "vit_tiny", "sample_rate": 0.5}, id="random numbers", marks=pytest.mark.slow),
]


def stop_at(patch, step, number=signal.SIGTERM):
    """Send a signal to this process after a step."""
    update = train_v2.update

    def update_and_signal(parts):
        update(parts)
        if parts.step == step:
            os.kill(os.getpid(), number)

    patch.setattr(train_v2, "update", update_and_signal)


def check_same(ours, theirs):
    names = ("model.pt", "best.pt", "checkpoint_gpu_0.pt")
    first, second = ([torch.load(folder / name, weights_only=True) for name in names] for folder in (ours, theirs))
    for one, other in zip(first[:2], second[:2], strict=True):
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    for part in ("state_dict_backbone", "state_dict_softmax_fc"):
        assert all(torch.equal(value, second[2][part][key]) for key, value in first[2][part].items())


@pytest.mark.parametrize("student", STUDENTS)
def test_a_run_stopped_in_an_epoch_goes_on_to_the_same_weights(student, face_set, tmp_path, monkeypatch, capsys):
    train_v2.main(small_job(face_set, tmp_path / "whole", **student))
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(SystemExit) as ended:
            train_v2.main(small_job(face_set, tmp_path / "parts", **student))
    assert ended.value.code == STOPPED == 143
    assert "SIGTERM: stopped after step 2; a checkpoint is saved, go on with --resume" in capsys.readouterr().err
    assert not (tmp_path / "parts" / "model.pt").exists(), "no epoch is complete"
    train_v2.main(small_job(face_set, tmp_path / "parts", **student), resume=True)
    check_same(tmp_path / "parts", tmp_path / "whole")


def test_a_run_stopped_with_the_last_step_of_an_epoch_saves_it_first(face_set, tmp_path, monkeypatch):
    train_v2.main(small_job(face_set, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(SystemExit):
            train_v2.main(small_job(face_set, tmp_path / "parts"))
    saved = torch.load(tmp_path / "parts" / "checkpoint_gpu_0.pt", weights_only=True)
    assert (saved["epoch"], saved["images"]) == (1, 12), "stopped after the first step of the next epoch"
    train_v2.main(small_job(face_set, tmp_path / "parts"), resume=True)
    check_same(tmp_path / "parts", tmp_path / "whole")


def test_a_run_that_saves_no_states_says_that_nothing_is_kept(face_set, tmp_path, monkeypatch, capsys):
    stop_at(monkeypatch, 1, signal.SIGUSR1)
    with pytest.raises(SystemExit):
        train_v2.main(small_job(face_set, tmp_path, save_all_states=False))
    assert "SIGUSR1: stopped after step 1; nothing is saved, as save_all_states is False" in capsys.readouterr().err


@pytest.mark.parametrize("fails", ["commit", "_publish"])
def test_a_run_killed_around_its_first_checkpoint_can_go_on(fails, face_set, tmp_path, monkeypatch):
    """Between checkpoint and model the kill leaves a checkpoint; before it, nothing that keeps a new run out."""
    train_v2.main(small_job(face_set, tmp_path / "whole"))
    place = "insightface_cakd.hosts.embedded.checkpoint" if fails == "commit" else train_v2.__name__
    with monkeypatch.context() as patch:
        patch.setattr(f"{place}.{fails}", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_v2.main(small_job(face_set, tmp_path / "parts"))
    train_v2.main(small_job(face_set, tmp_path / "parts"), resume=fails == "_publish")
    check_same(tmp_path / "parts", tmp_path / "whole")


def test_a_finished_run_that_lost_its_model_writes_it_again(face_set, tmp_path):
    train_v2.main(small_job(face_set, tmp_path))
    before = torch.load(tmp_path / "model.pt", weights_only=True)
    (tmp_path / "model.pt").unlink()
    train_v2.main(small_job(face_set, tmp_path), resume=True)
    after = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_draws_nothing_from_torchs_generator(workers, face_set):
    """Otherwise a resumed run, which starts its workers once more, would draw other numbers afterwards."""
    loader = get_dataloader(str(face_set), 0, 12, num_workers=workers, device=torch.device("cpu"))
    before = torch.get_rng_state()
    for epoch in range(2):
        loader.set_epoch(epoch)
        assert len(list(loader)) == len(loader)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_begins_later_has_the_rest_of_its_batches(workers, face_set):
    loader = get_dataloader(str(face_set), 0, 12, num_workers=workers, device=torch.device("cpu"))
    loader.set_epoch(3)
    whole = list(loader)
    loader.set_epoch(3, first=1)
    rest = list(loader)
    assert len(rest) == len(whole) - 1
    for ours, theirs in zip(rest, whole[1:], strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_another_thread_handles_no_signals():
    found = []

    def ask():
        with stop_requests() as request:
            found.append(request.agreed())

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGTERM) is before
