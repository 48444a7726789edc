"""A stopped run goes on: on the checkout, and on the other host, with and without distillation."""

from dataclasses import replace

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.tasks.launch import train
from tests.hosts.both_hosts import SharedJob, double_precision, on_checkout, on_embedded, write_full_recipe
from tests.hosts.jobs import logged_losses, torchrun, write_job, write_recipe
from tests.jobs import job, taught

pytestmark = pytest.mark.upstream
STEPS = 2
MISSING = "--resume: a checkpoint of arcface_torch or an earlier version: no state_rng (sampled classes, dropped tokens and paths are"


@pytest.fixture
def resume(folder, face_set):
    """Run the small job on the embedded host, from the checkpoint in its output folder."""
    config = write_job(folder, face_set)

    def start(output, *settings, **given):
        told = (f"output={output!r}", "device='cpu'", "save_all_states=true", *settings)
        return train(job(str(config), settings=told, resume=True, **given))

    return start


def saved(folder, rank=0):
    return torch.load(folder / f"checkpoint_gpu_{rank}.pt", weights_only=True)


def test_a_resumed_distillation_goes_on_where_it_stopped(run, folder):
    recipe, teacher = write_recipe(folder)
    given = {"distill": recipe, "teacher": teacher}
    run("out", "save_all_states=true", **given)
    state = saved(folder / "out")
    assert (state["epoch"], state["global_step"], int(state["state_dict_softmax_fc"]["cakd.step"])) == (1, 4, 4)
    run("out", "save_all_states=true", "num_epoch=2", resume=True, **given)
    state = saved(folder / "out")
    assert (state["epoch"], state["global_step"], int(state["state_dict_softmax_fc"]["cakd.step"])) == (2, 8, 8)
    # The logger of a resumed run starts anew, so that its first step is left out again.
    assert list(logged_losses(folder / "out")) == [2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("name", "optimizer", "lr"), [("plain", "adamw", 0.001), ("full", "sgd", 0.02)], ids=["plain-adamw", "full-sgd"]
)
@pytest.mark.parametrize("began_on", ["checkout", "embedded"])
def test_the_other_host_goes_on_with_the_losses_and_rates_of_the_run(
    name, optimizer, lr, began_on, folder, arcface_torch, face_set
):
    hosts = {"embedded": on_embedded, "checkout": lambda job: on_checkout(job, arcface_torch)}
    first = hosts.pop(began_on)
    (second,) = hosts.values()
    with double_precision():
        recipe = taught(*write_full_recipe(folder)) if name == "full" else None
        changes = {"num_epoch": 2, "optimizer": optimizer, "lr": lr, "warmup_epoch": 0}
        job = SharedJob(face_set, folder / "stopped", recipe, STEPS, changes=changes)
        whole = first(replace(job, output=folder / "whole"))
        begun = first(replace(job, stop_after=1))
        ended = second(replace(job, resume=True))
    assert begun.losses == pytest.approx(whole.losses[:STEPS], rel=1e-12)
    assert ended.losses == pytest.approx(whole.losses[STEPS:], rel=1e-10)
    assert ended.rates == pytest.approx(whole.rates[STEPS:], rel=1e-10)


def test_a_checkpoint_of_the_checkout_resumes_on_the_embedded_host(run, resume, folder, capsys):
    run("out", "save_all_states=true")
    assert resume("out", "num_epoch=2").steps == 8
    assert capsys.readouterr().out.count(MISSING) == 1
    state = saved(folder / "out")
    assert (state["epoch"], state["global_step"]) == (2, 8)
    resume("out", "num_epoch=3")
    assert MISSING not in capsys.readouterr().out, "by then the checkpoint is the embedded host's"


def test_with_distillation_it_does_so_with_the_methods_state(run, resume, folder):
    recipe, teacher = write_full_recipe(folder)
    run("out", "save_all_states=true", distill=recipe, teacher=teacher)
    projector = saved(folder / "out")["state_dict_softmax_fc"]["cakd.projectors.fitnet.channels.weight"]
    resume("out", "num_epoch=2", "lr=0.0", distill=recipe, teacher=teacher)
    state = saved(folder / "out")["state_dict_softmax_fc"]
    assert int(state["cakd.step"]) == 8
    assert torch.equal(state["cakd.projectors.fitnet.channels.weight"], projector)


def test_a_checkpoint_of_the_embedded_host_resumes_on_the_checkout(run, folder, face_set):
    recipe, teacher = write_full_recipe(folder)
    given = {"distill": recipe, "teacher": teacher}
    settings = ("output='out'", "device='cpu'", "num_epoch=2", "gradient_acc=2")
    config = str(write_job(folder, face_set))
    train(job(config, settings=(*settings, "num_epoch=1"), **given))
    run("out", "num_epoch=2", "save_all_states=true", resume=True, **given)
    state = saved(folder / "out")
    assert (state["epoch"], state["global_step"], int(state["state_dict_softmax_fc"]["cakd.step"])) == (2, 8, 8)


@pytest.mark.parametrize(
    ("settings", "taught", "message"),
    [
        (("optimizer='adamw'",), False, r"checkpoint's optimiser does not fit \(it is sgd's, the config says adamw\)"),
        (("num_classes=13",), False, r"checkpoint's head does not fit \(.*\[12, 64\]"),
        (("embedding_size=32",), False, r"checkpoint's student does not fit"),
        ((), True, r"checkpoint's optimiser does not fit \(.*parameter group that doesn't match the size"),
    ],
)
def test_what_does_not_fit_is_one_line(settings, taught, message, run, resume, folder):
    run("out", "save_all_states=true")
    recipe, teacher = write_full_recipe(folder)
    given = {"distill": recipe, "teacher": teacher} if taught else {}
    with pytest.raises(RunError, match=message) as raised:
        resume("out", "num_epoch=2", *settings, **given)
    assert "\n" not in str(raised.value)
    assert saved(folder / "out")["epoch"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("began_on", ["checkout", "embedded"])
def test_two_ranks_go_on_on_the_other_host(began_on, folder, arcface_torch, face_set):
    recipe, teacher = write_full_recipe(folder)
    job = [
        write_job(folder, face_set), "--distill", recipe, "--teacher", teacher, "--output", "out",
        "--set", "batch_size=6", "--set", "save_all_states=True",
    ]  # fmt: skip
    hosts = {"checkout": ["--host", arcface_torch], "embedded": ["--set", "device=cpu"]}
    torchrun(folder, *job, *hosts.pop(began_on))
    (other,) = hosts.values()
    said = torchrun(folder, *job, *other, "--resume", "--set", "num_epoch=2")
    assert said.count(MISSING) == (1 if began_on == "checkout" else 0)
    ranks = [saved(folder / "out", rank) for rank in range(2)]
    assert [(state["epoch"], state["global_step"]) for state in ranks] == [(2, 8), (2, 8)]
    assert [state["state_dict_softmax_fc"]["weight"].shape[0] for state in ranks] == [6, 6]
    first, second = (state["state_dict_backbone"]["conv_sep.layers.0.weight"] for state in ranks)
    assert torch.equal(first, second)
