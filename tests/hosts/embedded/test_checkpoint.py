"""What a checkpoint says and what it leaves open: prolonged runs, checkpoints of arcface_torch, and what does not fit."""

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.checkpoint import ADDED
from insightface_cakd.hosts.generations import KEYS
from tests.hosts.embedded.jobs import small_job

# Eight steps in two epochs.
JOB = {"lr": 0.08, "val_targets": []}


@pytest.fixture
def rates():
    """The learning rate of every step that is taken."""
    seen = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    yield seen
    hook.remove()


@pytest.fixture
def stopped(face_set, tmp_path):
    """Run the first of two epochs; return what changes the checkpoint, and what goes on from it."""
    path = tmp_path / "checkpoint_gpu_0.pt"
    train_v2.main(small_job(face_set, tmp_path, **JOB, num_epoch=1))

    def change(function):
        content = torch.load(path, weights_only=True)
        function(content)
        torch.save(content, path)

    def go_on(**changes):
        return train_v2.main(small_job(face_set, tmp_path, **{**JOB, **changes}), resume=True)

    return change, go_on


def as_arcface_torch(content):
    """Leave what arcface_torch saves: no more keys, and a schedule that falls in a line."""
    for key in ADDED:
        del content[key]
    content["state_lr_scheduler"]["power"] = 1.0


def test_a_checkpoint_has_arcface_torchs_keys_first(stopped):
    change, _ = stopped
    found = []
    change(found.extend)
    assert found == [*KEYS, *ADDED]


def test_a_run_is_prolonged_on_the_longer_schedule(stopped, rates):
    _, go_on = stopped
    rates.clear()
    assert go_on(num_epoch=2).steps == 8
    assert rates == pytest.approx([0.08 * ((8 - step) / 8) ** 2 for step in range(4, 8)])


def test_a_changed_rate_decay_and_momentum_are_the_configs(stopped, rates, monkeypatch):
    _, go_on = stopped
    rates.clear()
    groups = []
    monkeypatch.setattr(train_v2, "run", lambda parts, *_: groups.extend(parts.optimizer.param_groups))
    go_on(num_epoch=2, lr=0.04, weight_decay=0.1, momentum=0.5)
    assert [(group["weight_decay"], group["momentum"]) for group in groups] == [(0.1, 0.5), (0.1, 0.5)]
    assert groups[0]["lr"] == pytest.approx(0.04 * (4 / 8) ** 2)


def test_arcface_torchs_schedule_goes_on_in_its_line_and_what_is_missing_is_said_once(stopped, rates, capsys):
    change, go_on = stopped
    change(as_arcface_torch)
    rates.clear()
    capsys.readouterr()
    assert go_on(num_epoch=2).steps == 8
    assert rates == pytest.approx([0.08 * (8 - step) / 8 for step in range(4, 8)])
    said = [line for line in capsys.readouterr().out.splitlines() if "arcface_torch" in line]
    assert said == [
        "--resume: a checkpoint of arcface_torch or an earlier version: no state_rng (sampled classes, dropped tokens and paths are drawn "
        "afresh from the seed); no world_size (the number of ranks is that of the files); no best (best.pt is chosen among the epochs to "
        "come); no labels (that each label stands for the same person is not checked)"
    ]


def test_steps_in_a_checkpoint_are_batches_as_arcface_torch_counts_them(face_set, tmp_path):
    result = train_v2.main(small_job(face_set, tmp_path, **JOB, batch_size=6, gradient_acc=4, warmup_epoch=1))
    assert result.steps == 4, "two epochs of eight batches in fours"
    content = torch.load(tmp_path / "checkpoint_gpu_0.pt", weights_only=True)
    schedule = content["state_lr_scheduler"]
    assert content["global_step"] == schedule["last_epoch"] == schedule["total_iters"] == 16
    assert schedule["warmup_iters"] == 8


@pytest.mark.parametrize(
    ("damage", "changes", "message"),
    [
        (lambda content: content.pop("state_optimizer"), {}, r"lacks state_optimizer; expected a checkpoint of this host or of"),
        (lambda content: content.update(epoch="1"), {}, r"lacks epoch; expected"),
        (lambda content: content["state_lr_scheduler"].pop("power"), {}, r"schedule does not fit \(it has no power, as if of"),
        (lambda content: None, {"optimizer": "adamw"}, r"optimiser does not fit \(it is sgd's, the config says adamw\)"),
        (
            lambda content: content["state_optimizer"]["param_groups"].pop(),
            {},
            r"optimiser does not fit \(.*different number of parameter groups\)",
        ),
        (lambda content: content["state_optimizer"].clear(), {}, r"optimiser does not fit \('param_groups'\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(damage, changes, message, stopped):
    change, go_on = stopped
    change(damage)
    with pytest.raises(RunError, match=message) as raised:
        go_on(**changes)
    assert "\n" not in str(raised.value)
    assert "Resume with the config" in str(raised.value) or "Start a new run" in str(raised.value)
