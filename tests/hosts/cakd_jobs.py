"""Runs of CAKD on either host, in this process or under torchrun, whose losses and unclipped gradients are kept."""

import functools
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import Recipe, parse_recipe
from tests.hosts.both_hosts import BATCH, WIDTH, Seen, SharedJob, on_checkout, on_embedded
from tests.hosts.jobs import run_python

TEACHERS = {"vit_t": "vit_t", "swin_tiny": "insightface_cakd.hosts.embedded.backbones.timm_family:swin_tiny"}
TAPS = {"mbf": "conv_sep", "r18": "layer4"}
PAIRS = [(teacher, student) for teacher in TEACHERS for student in TAPS]
CAKD = """\
teacher: {prompts: {tokens: 2}}
urfm: {centres: 9, width: 32, heads: 4}
losses:
  - {loss: urfm_attention, weight: 100}
  - {loss: urfm_feature, weight: 10}
  - {loss: urfm_anchor, weight: 10}
  - {loss: prompt_anchor, weight: 10}
  - {loss: cosine, weight: 64}
"""
STATISTICS = "cakd.urfm.scaled."


def cakd_recipe(folder: Path, teacher: str, student: str) -> Recipe:
    """Return CAKD of an untrained teacher, whose weights are written to the folder, and of a student."""
    weights = folder / f"{teacher}.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        state = get_model(teacher, num_features=WIDTH).state_dict()
    if int(os.environ.get("RANK", "0")) == 0 and not weights.exists():
        torch.save(state, weights.with_suffix(".writing"))
        weights.with_suffix(".writing").replace(weights)
    while not weights.exists():
        time.sleep(0.1)
    content = yaml.safe_load(CAKD)
    content["teacher"] |= {"network": TEACHERS[teacher], "weights": str(weights)}
    content["urfm"] |= {"student": TAPS[student]}
    return parse_recipe(content, "recipe")


def cakd_job(data: Path, folder: Path, teacher: str, student: str, steps: int, **changes: Any) -> SharedJob:
    """Return a run of a pair, whose output folder has the pair's name."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    changes = {"network": student, "num_image": steps * BATCH * ranks, **changes}
    recipe = cakd_recipe(folder, teacher, student)
    return SharedJob(data, folder / f"{teacher}-{student}", recipe, steps, changes=changes)


def run_job(host: str, job: SharedJob, checkout: Path | None) -> Seen:
    """Run a job on the embedded host, or on the checkout, in a process group of its own."""
    if "PORTS" in os.environ:
        # The store of torchrun still knows the addresses of the run before.
        os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
        os.environ["MASTER_PORT"], _, os.environ["PORTS"] = os.environ["PORTS"].partition(" ")
    return on_embedded(job) if checkout is None or host == "embedded" else on_checkout(job, checkout)


def pairs(run: Any, data: Path, folder: Path) -> dict[str, list[float]]:
    """Return the losses of two steps of every pair."""
    found = {}
    for pair in PAIRS:
        job = cakd_job(data, folder, *pair, steps=2)
        found["-".join(pair)] = run(job).losses
    return found


def accumulation(run: Any, data: Path, folder: Path) -> dict[str, Any]:
    """Return the gradients of two batches one by one and together, and the statistics that both runs leave.

    Without a learning rate nothing moves between the batches but statistics.
    """
    found: dict[str, Any] = {}
    job = cakd_job(data, folder, "swin_tiny", "mbf", steps=2, lr=0.0)
    for name, micro_steps in (("alone", 1), ("together", 2)):
        mine = replace(job, output=folder / name, changes={**job.changes, "gradient_acc": micro_steps})
        gradients: list[list[torch.Tensor]] = []

        def keep(parameters: Any, *_: Any, kept: Any = gradients) -> None:
            kept.append([torch.zeros(()) if p.grad is None else p.grad.clone() for p in parameters])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.utils, "clip_grad_norm_", keep)
            run(mine)
        found[name] = gradients
        state = saved(mine.output)["state_dict_softmax_fc"]
        found[f"{name}.statistics"] = {key: value for key, value in state.items() if key.startswith(STATISTICS)}
    return found


def resumption(run: Any, data: Path, folder: Path) -> dict[str, Any]:
    """Return what a run of two epochs of one step saves, and what one saves that was stopped between them and resumed."""
    job = cakd_job(data, folder, "swin_tiny", "mbf", steps=1, num_epoch=2)
    run(replace(job, output=folder / "whole"))
    run(replace(job, output=folder / "stopped", stop_after=1))
    run(replace(job, output=folder / "stopped", resume=True))
    return {name: saved(folder / name) for name in ("whole", "stopped")}


def saved(output: Path) -> dict[str, Any]:
    """Return this rank's checkpoint."""
    return torch.load(output / f"checkpoint_gpu_{os.environ.get('RANK', '0')}.pt", weights_only=True)


def on_ranks(ranks: int, what: str, host: str, data: Path, checkout: Path | None, folder: Path) -> list[Any]:
    """Return what a function of this file returns on each rank."""
    place = folder / host
    place.mkdir()
    arguments = [what, host, data, "none" if checkout is None else checkout]
    if ranks == 1:
        return [perform(what, host, data, checkout, place)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTS", free_ports(len(PAIRS)))
        code, said = run_python(place, *launcher, "-m", "tests.hosts.cakd_jobs", *arguments)
    assert code == 0, said
    return [torch.load(place / f"{what}{rank}.pt", weights_only=True) for rank in range(ranks)]


def free_ports(count: int) -> str:
    """Return numbers of ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return " ".join(ports)


def perform(what: str, host: str, data: Path, checkout: Path | None, place: Path) -> Any:
    """Run one of this file's functions on a host."""
    functions = {"pairs": pairs, "accumulation": accumulation, "resumption": resumption}
    return functions[what](functools.partial(run_job, host, checkout=checkout), data, place)


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, host, data, checkout = sys.argv[1:]
    found = perform(what, host, Path(data), None if checkout == "none" else Path(checkout), Path.cwd())
    torch.save(found, f"{what}{os.environ['RANK']}.pt")
