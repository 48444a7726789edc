"""Examination of installation and host, then of a run's steps."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout

import torch
from easydict import EasyDict
from torch import nn

from insightface_cakd.distill.plan import planned_length
from insightface_cakd.doctor.checkout import examine_checkout, examine_fixes, import_problem
from insightface_cakd.doctor.data import examine_faces, examine_sets
from insightface_cakd.doctor.installation import examine_installation
from insightface_cakd.doctor.rehearsal import Host, rehearse
from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.hosts import preflight, upstream
from insightface_cakd.hosts.checkout import Checkout, find_checkout
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.hosts.precision import examine_precision
from insightface_cakd.hosts.schedule import examine_amount, examine_schedule
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.findings import Finding, note, problem
from insightface_cakd.runtime.ranks import world_size
from insightface_cakd.tasks.batches import embedded_length
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.known import named_task
from insightface_cakd.tasks.task import Task


def examine(job: Job) -> Iterator[Finding]:
    """Examine everything that a job names, and yield each finding once."""
    given: set[str] = set()
    for finding in _all(job):
        if finding.text not in given:
            given.add(finding.text)
            yield finding


def _all(job: Job) -> Iterator[Finding]:
    yield from examine_installation()
    yield from map(problem, job.problems())
    if job.host is not None:
        yield from _on_checkout(job)
        return
    yield from rehearse(job, _embedded())


def _embedded() -> Host:
    def device(cfg: EasyDict | None) -> torch.device:
        return choose_device(cfg.get("device") if cfg is not None else None)

    def build(cfg: EasyDict, device: torch.device) -> tuple[nn.Module, nn.Module]:
        parts, *_ = train_v2.prepare(cfg, device, bool(cfg.resume))
        return parts.backbone, parts.head

    def length(cfg: EasyDict, task: Task) -> Length:
        return embedded_length(cfg, task, world_size())

    def remarks(cfg: EasyDict) -> Iterator[Finding]:
        if cfg.sample_rate == 0:
            yield note("config: sample_rate is 0: of all classes a step uses those of its own images only.")
        yield from examine_amount(embedded_length(cfg, Task(), world_size()).total)
        yield from examine_precision(cfg.get("precision"), choose_device(cfg.get("device")))
        yield from examine_sets(cfg.val_targets, str(cfg.rec))

    return Host(train_v2, get_config, device, build, length, remarks)


def _on_checkout(job: Job) -> Iterator[Finding]:
    try:
        checkout = find_checkout(job.host)
    except CAKDError as error:
        yield problem(str(error))
        yield from _without_host(job)
        return
    found = list(examine_checkout(checkout))
    yield from found
    yield from examine_fixes(job.fixes, job.no_fixes)
    if any(finding.kind == "problem" for finding in found):
        yield from _without_host(job)
    else:
        yield from _imported(job, checkout)


def _imported(job: Job, checkout: Checkout) -> Iterator[Finding]:
    found: list[Finding] = []
    try:
        # Messages of fixes are findings already, and those of the checkout are of no use here.
        with redirect_stdout(io.StringIO()), upstream.opened(checkout, job.fixes, job.no_fixes) as host:
            found += rehearse(job, _of_checkout(host, job))
    except RunError as error:
        yield import_problem(error, checkout, job.no_fixes)
        yield from _without_host(job)
    yield from found


def _of_checkout(host: upstream.Host, job: Job) -> Host:
    def build(cfg: EasyDict, _: torch.device) -> tuple[nn.Module, nn.Module]:
        preflight.check_run(cfg, world_size(), not named_task(job.distill, job.recipe_settings).has_own_data)
        return host.build(cfg)

    def remarks(cfg: EasyDict) -> Iterator[Finding]:
        yield from examine_schedule(cfg)
        yield from examine_sets(cfg.val_targets, str(cfg.rec))

    return Host(
        host.train_v2,
        host.get_config,
        lambda _: host.device,
        build,
        lambda cfg, _: planned_length(cfg, world_size()),
        remarks,
    )


def _without_host(job: Job) -> Iterator[Finding]:
    """Examine a job's data, which needs no code of the host."""
    left = [f"--{name}" for name in ("config", "distill") if getattr(job, name) is not None]
    if left:
        yield note(f"{', '.join(left)}: not looked at, since there is no checkout that can be imported.")
    if job.data is not None:
        try:
            yield from examine_faces(str(job.data))
        except CAKDError as error:
            yield problem(str(error))
