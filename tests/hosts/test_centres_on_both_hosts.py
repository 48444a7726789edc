"""Class centres of the teacher on either host: the same losses, rows that the optimiser leaves alone, and a run that goes on."""

from dataclasses import replace

import pytest
import torch
import yaml

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.tasks.launch import train
from tests.hosts.both_hosts import CLASSES, WIDTH, SharedJob, double_precision, on_checkout, on_embedded
from tests.hosts.jobs import torchrun, write_job
from tests.jobs import job

HEADS = {
    "frozen": {"centres": "teacher"},
    "quality": {"centres": "teacher", "margin": "quality"},
    "average": {"centres": "average"},
}
HOSTS = ["embedded", pytest.param("checkout", marks=pytest.mark.upstream)]
ARCFACE, COSFACE = (1.0, 0.45, 0.0), (1.0, 0.0, 0.35)
FIXED = {"weight_decay": 0.1, "lr": 0.05}


def head_recipe(folder, kind):
    """Write an untrained teacher and its centres; return a recipe with no losses."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("mbf", num_features=WIDTH).state_dict(), folder / "teacher.pt")
        torch.save({"weight": torch.randn(CLASSES, WIDTH)}, folder / "centres.pt")
    teacher = {"network": "mbf", "weights": str(folder / "teacher.pt"), "centres": [str(folder / "centres.pt")]}
    return parse_recipe({"teacher": teacher, "head": HEADS[kind]}, "recipe")


@pytest.fixture
def on(request):
    """Run a job on a host."""

    def run(host, job):
        return on_embedded(job) if host == "embedded" else on_checkout(job, request.getfixturevalue("arcface_torch"))

    return run


def head_state(output):
    return torch.load(output / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]


@pytest.mark.parametrize(("kind", "optimizer"), [("frozen", "sgd"), ("quality", "adamw")])
@pytest.mark.parametrize("host", HOSTS)
def test_frozen_rows_leave_a_run_as_they_entered_it(host, kind, optimizer, on, folder, face_set):
    """Weight decay and momentum included, a sampled head too."""
    changes = {**FIXED, "optimizer": optimizer, "sample_rate": 0.5}
    job = SharedJob(face_set, folder / "out", head_recipe(folder, kind), steps=2, changes=changes)
    assert len(on(host, job).losses) == 2
    assert torch.equal(head_state(folder / "out")["weight"], torch.load(folder / "centres.pt")["weight"])


@pytest.mark.parametrize("kind", ["average", pytest.param("quality", marks=pytest.mark.slow)])
@pytest.mark.parametrize("host", HOSTS)
def test_a_run_stopped_and_resumed_ends_bit_for_bit_like_an_uninterrupted_one(host, kind, on, folder, face_set):
    job = SharedJob(face_set, folder / "whole", head_recipe(folder, kind), steps=1, changes={**FIXED, "num_epoch": 2})
    on(host, job)
    on(host, replace(job, output=folder / "stopped", stop_after=1))
    on(host, replace(job, output=folder / "stopped", resume=True))
    whole, stopped = (
        torch.load(folder / name / "checkpoint_gpu_0.pt", weights_only=True) for name in ("whole", "stopped")
    )
    for part in ("state_dict_backbone", "state_dict_softmax_fc"):
        assert whole[part].keys() == stopped[part].keys()
        assert all(torch.equal(value, stopped[part][key]) for key, value in whole[part].items())
    assert list(whole["state_dict_softmax_fc"]) == ["weight", "cakd.step"]


@pytest.mark.upstream
@pytest.mark.parametrize(
    ("kind", "margins", "rate"),
    [
        ("average", ARCFACE, 0.5),
        pytest.param("average", COSFACE, 1.0, marks=pytest.mark.slow),
        pytest.param("quality", COSFACE, 0.5, marks=pytest.mark.slow),
        pytest.param("frozen", ARCFACE, 1.0, marks=pytest.mark.slow),
    ],
)
def test_both_hosts_lose_alike_step_by_step(kind, margins, rate, on, folder, face_set):
    with double_precision():
        changes = {"margin_list": margins, "sample_rate": rate}
        job = SharedJob(face_set, folder / "out", head_recipe(folder, kind), steps=2, changes=changes)
        ours, theirs = (on(host, replace(job, output=folder / host)).losses for host in ("embedded", "checkout"))
    assert len(ours) == 2
    assert ours == pytest.approx(theirs, rel=1e-10)


def test_a_plain_runs_checkpoint_does_not_replace_the_teachers_centres(folder, face_set):
    head_recipe(folder, "frozen")
    config = str(write_job(folder, face_set))
    settings = ("output='out'", "device='cpu'", "save_all_states=true")
    train(job(config, settings=settings))
    (folder / "frozen.yaml").write_text("teacher: {network: mbf}\nhead: {centres: teacher}\n")
    given = {"distill": "frozen.yaml", "teacher": "teacher.pt", "centres": ("centres.pt",)}
    with pytest.raises(RunError, match=r"checkpoint: its class centres are not those of teacher\.centres"):
        train(job(config, settings=(*settings, "num_epoch=2"), resume=True, **given))


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("host", HOSTS)
def test_two_ranks_share_the_centres_and_go_on(host, kind, folder, face_set, request):
    """Each rank's checkpoint holds its own rows; the other classes' centres never meet this rank's optimiser."""
    loaded = head_recipe(folder, kind)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(loaded.model_dump(include={"head", "teacher"})))
    where = ["--set", "device=cpu"] if host == "embedded" else ["--host", request.getfixturevalue("arcface_torch")]
    job = [
        write_job(folder, face_set), "--distill", "recipe.yaml", "--output", "out", "--set", "batch_size=6",
        "--set", "save_all_states=True", "--set", "sample_rate=0.5", *where,
    ]  # fmt: skip
    torchrun(folder, *job)
    torchrun(folder, *job, "--resume", "--set", "num_epoch=2")
    ranks = [
        torch.load(folder / "out" / f"checkpoint_gpu_{rank}.pt", weights_only=True)["state_dict_softmax_fc"]
        for rank in range(2)
    ]
    assert [int(state["cakd.step"]) for state in ranks] == [8, 8]
    rows = torch.cat([state["weight"] for state in ranks])
    if kind == "average":
        # Every class was seen: its centre has left the start and lies about the unit sphere.
        assert rows.shape == (CLASSES, WIDTH)
        assert (rows.norm(dim=1) > 0.3).all()
    else:
        assert torch.equal(rows, torch.load(folder / "centres.pt")["weight"])
