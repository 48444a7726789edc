"""An unmodified checkout trains on today's stack, with and without distillation, and the launcher adds nothing of its own."""

import json
import logging
import sys

import pytest
import torch
import torch.distributed as dist

from insightface_cakd.cli import main
from insightface_cakd.hosts.checkout import top_level_names
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from tests.hosts.checkouts import copy_of
from tests.hosts.jobs import equal_weights, logged_losses, run_python, torchrun, write_job, write_recipe

pytestmark = pytest.mark.upstream


PLAIN = """
import runpy, sys
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.compat import FIXES, applied
with find_checkout(sys.argv[1]).imported(), applied(FIXES):
    sys.argv = ["train_v2.py", sys.argv[2]]
    runpy.run_path("train_v2.py", run_name="__main__")
"""


def test_without_distill_it_is_train_v2_step_by_step(run, folder, arcface_torch, face_set):
    # Plain: the script itself, started in its folder with a config among its configs, as its README says.
    copy = copy_of(arcface_torch, folder / "arcface_torch")
    write_job(copy / "configs", face_set)
    code, said = run_python(copy, "-c", PLAIN, copy, "configs/small")
    assert code == 0, said
    launched = run("launched")
    expected = logged_losses(copy / "work_dirs" / "small")
    assert list(expected) == [2, 3, 4]
    assert logged_losses(launched) == expected
    assert equal_weights(launched / "model.pt", copy / "work_dirs" / "small" / "model.pt")


def test_the_command_line_and_what_it_leaves_behind(folder, arcface_torch, face_set, monkeypatch, capsys):
    job = write_job(folder, face_set, "elsewhere")
    command = ["cakd", "train", str(job), "--host", str(arcface_torch.parent), "--output", "out"]
    wishes = ["--fix", "first-step-lr", "--no-fix", "timm-layers", "--set", "wandb_key=secret", "--set", "lr=0.01"]
    monkeypatch.setattr(sys, "argv", [*command, *wishes])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    said = capsys.readouterr().out
    assert "fix first-step-lr is on and changes results: " in said
    facts = json.loads((folder / "out" / "run.json").read_text())
    assert (facts["host"]["version"], facts["host"]["commit"], facts["host"]["changed"]) == ("pinned", "7fadd420", [])
    assert {"first-step-lr", "scheduler-verbose", "loader-errors"} <= set(facts["host"]["fixes"])
    assert "timm-layers" not in facts["host"]["fixes"]
    assert (facts["config"]["network"], facts["config"]["lr"]) == ("mbf", 0.01)
    assert "secret" not in (folder / "out" / "run.json").read_text()


def test_nothing_of_the_checkout_is_left_afterwards(run, arcface_torch):
    names = top_level_names(arcface_torch)
    before = {name for name in sys.modules if name.partition(".")[0] in names}
    path, finders, handlers = list(sys.path), list(sys.meta_path), list(logging.getLogger().handlers)
    files = sorted(arcface_torch.rglob("*"))
    run("out")
    assert {name for name in sys.modules if name.partition(".")[0] in names} == before
    assert (sys.path, sys.meta_path, logging.getLogger().handlers) == (path, finders, handlers)
    assert sorted(arcface_torch.rglob("*")) == files
    assert not dist.is_initialized()
    assert not hasattr(torch.Tensor.cuda, "__wrapped__")


def test_a_config_of_the_checkout_and_outputs_in_the_working_directory(folder, arcface_torch, face_set):
    job = Job(
        "configs/ms1mv3_mbf",
        host=str(arcface_torch.parent),
        settings=(f"rec={str(face_set)!r}", "num_classes=12", "num_image=48", "num_epoch=1", "batch_size=24",
                  "embedding_size=32", "val_targets=[]", "num_workers=0"),
    )  # fmt: skip
    train(job)
    state = torch.load(folder / "work_dirs" / "ms1mv3_mbf" / "model.pt", weights_only=True)
    get_model("mbf", num_features=32).load_state_dict(state, strict=True)


def test_verification_accumulation_and_sampling_with_distillation(run, folder, capsys):
    recipe, teacher = write_recipe(folder)
    output = run(
        "out", "val_targets=['dev']", "verbose=4", "gradient_acc=2", "sample_rate=0.5",
        distill=recipe, teacher=teacher, fixes=("mean-gradient",),
    )  # fmt: skip
    said = (output / "training.log").read_text()
    assert "[dev][4]Accuracy-Flip: " in said
    assert "fix mean-gradient is on and changes results" in capsys.readouterr().out
    assert json.loads((output / "run.json").read_text())["recipe"]["losses"][0]["loss"] == "cosine"
    get_model("mbf", num_features=64).load_state_dict(torch.load(output / "model.pt", weights_only=True), strict=True)


@pytest.mark.slow
def test_two_ranks_train_stop_and_resume_with_every_fix(folder, arcface_torch, face_set):
    recipe, teacher = write_recipe(folder)
    config = write_job(folder, face_set)
    fixes = [part for name in ("mean-batch-norm", "own-centres", "mean-gradient") for part in ("--fix", name)]
    arguments = [
        config, "--host", arcface_torch, "--distill", recipe, "--teacher", teacher, "--output", "out", *fixes,
        "--set", "batch_size=6", "--set", "save_all_states=True", "--set", "sample_rate=0.5", "--set", "gradient_acc=2",
        "--set", "num_workers=1", "--set", "val_targets=['dev']", "--set", "verbose=4",
    ]  # fmt: skip
    said = torchrun(folder, *arguments)
    assert said.count("fix own-centres is on and changes results") == 1
    torchrun(folder, *arguments, "--resume", "--set", "num_epoch=2")
    assert list(logged_losses(folder / "out")) == [2, 3, 4, 6, 7, 8]
    ranks = [torch.load(folder / "out" / f"checkpoint_gpu_{rank}.pt", weights_only=True) for rank in range(2)]
    students = [saved["state_dict_backbone"] for saved in ranks]
    # Ranks hold the same student, its averaged batch-norm statistics included, and shards of their own.
    assert all(torch.equal(students[0][key], students[1][key]) for key in students[0])
    assert [saved["state_dict_softmax_fc"]["weight"].shape[0] for saved in ranks] == [6, 6]
    assert [int(saved["state_dict_softmax_fc"]["cakd.step"]) for saved in ranks] == [8, 8]


@pytest.mark.slow
def test_two_ranks_without_distillation_and_without_wishes(folder, arcface_torch, face_set):
    config = write_job(folder, face_set)
    torchrun(folder, config, "--host", arcface_torch, "--output", "out", "--set", "batch_size=6")
    assert list(logged_losses(folder / "out")) == [2, 3, 4]
