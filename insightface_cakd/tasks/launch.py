"""Starts a training run, on the embedded host or on a checkout."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from easydict import EasyDict

from insightface_cakd.distill.maps import save_maps
from insightface_cakd.distill.monitor import log_folder
from insightface_cakd.distill.plan import RunPlan, planned_length
from insightface_cakd.distill.snapshot import snapshots_of
from insightface_cakd.errors import RunError
from insightface_cakd.hosts import preflight, upstream
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.hosts.job_spec import BF16
from insightface_cakd.hosts.schedule import examine_schedule
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.runtime.devices import choose_device, process_group
from insightface_cakd.runtime.folder_lock import only_writer
from insightface_cakd.runtime.idle_warnings import idle_warnings_left_out
from insightface_cakd.runtime.ranks import first_decides, is_first_process, rank, world_size
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks import seam
from insightface_cakd.tasks.batches import embedded_length
from insightface_cakd.tasks.job import Job, configured
from insightface_cakd.tasks.known import named_task, task_of
from insightface_cakd.tasks.provenance import teaching_facts, write_provenance
from insightface_cakd.tasks.stages import decided, output_of, stages_of
from insightface_cakd.tasks.task import Task
from insightface_cakd.tasks.teaching import make_teachers, sets_of
from insightface_cakd.tasks.telling import beginning, logged_accuracies


def train(job: Job) -> train_v2.RunResult:
    """Run a job to its end, the stages of its recipe first.

    Args:
        job: the options of the run.

    Returns:
        What the embedded host measured in the last run; empty for a checkout, which logs it.

    Raises:
        CAKDError: anything wrong with config, recipe, teacher, data or the run itself, in one line.
    """
    return run(job)[0]


def run(job: Job) -> tuple[train_v2.RunResult, RunFolder]:
    """Run a job as `train` does; return the last run's folder too."""
    for problem in job.problems():
        raise RunError(problem)
    job = decided(job)
    stages = stages_of(job)
    # Ranks that met once stay together: torchrun's store keeps the addresses of a first group, and a second one would read them.
    several = len(stages) > 1
    with process_group() if several else nullcontext(), _only_run(output_of(job)) if several else nullcontext():
        for stage in stages:
            if stage.title and is_first_process():
                print(stage.title, flush=True)
            finished = _run(stage.job)
    return finished


@contextmanager
def _only_run(output: Path | None) -> Iterator[None]:
    """Keep other runs from a folder; the first rank holds its lock."""
    with ExitStack() as stack:
        with first_decides():
            if output is not None and rank() == 0:
                stack.enter_context(only_writer(output))
        yield


def _run(job: Job) -> tuple[train_v2.RunResult, RunFolder]:
    with (
        _embedded(job) if job.host is None else _checkout(job, job.host) as (cfg, loop),
        _only_run(Path(str(cfg.output))),
        idle_warnings_left_out(),
    ):
        first = is_first_process()
        result, taught = (loop.run(), {}) if job.distill is None else _distil(job, cfg, loop, first)
        if first:
            write_provenance(Path(cfg.output), cfg, {**loop.facts, **taught})
        return result, RunFolder(Path(cfg.output))


@dataclass(frozen=True)
class _Loop:
    """A host's training loop, ready to run on a device.

    Args:
        length: gives the length of a run for the task that has filled the config.
    """

    namespace: ModuleType
    device: torch.device
    run: Callable[[], train_v2.RunResult]
    length: Callable[[Task], Length]
    facts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def _embedded(job: Job) -> Iterator[tuple[EasyDict, _Loop]]:
    """Yield the job's config and this package's own loop."""
    cfg = configured(job, get_config)
    device = choose_device(cfg.get("device"))
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    with process_group(device):
        yield cfg, _Loop(train_v2, device, lambda: train_v2.main(cfg), lambda task: embedded_length(cfg, task, ranks))


@contextmanager
def _checkout(job: Job, folder: Path) -> Iterator[tuple[EasyDict, _Loop]]:
    """Yield the job's config and a checkout's loop, in this working directory."""
    with upstream.opened(find_checkout(folder), job.fixes, job.no_fixes) as host:
        cfg = configured(job, host.get_config)
        task = named_task(job.distill, job.recipe_settings)
        preflight.check_run(cfg, world_size(), not task.has_own_data)
        there = {path.stem for path in preflight.verification_sets(cfg)}
        absent = [name for name in cfg.val_targets if name not in there]
        if absent and rank() == 0 and not task.has_own_measures:
            print(f"val_targets: {', '.join(absent)} not in {cfg.rec}: arcface_torch passes over them", flush=True)
        if rank() == 0 and not task.has_own_data:
            _print_notes(cfg)

        def run() -> train_v2.RunResult:
            host.train(cfg)
            return train_v2.RunResult(accuracy=logged_accuracies(Path(str(cfg.output))) if rank() == 0 else {})

        facts = {"host": host.facts}
        yield cfg, _Loop(host.train_v2, host.device, run, lambda _: planned_length(cfg, world_size()), facts)


def _print_notes(cfg: EasyDict) -> None:
    """Print what `cakd doctor` would note about a checkout's config."""
    for finding in examine_schedule(cfg):
        if finding.kind == "note":
            print(finding, flush=True)


def _distil(job: Job, cfg: EasyDict, loop: _Loop, first: bool) -> tuple[train_v2.RunResult, dict[str, Any]]:
    """Run a loop with a recipe; also return facts for `run.json`.

    The first process logs and measures the teacher.
    """
    data, name = Path(str(cfg.rec)), Path(str(job.distill)).stem
    recipe = load_recipe(str(job.distill), job.recipe_settings)
    task = task_of(recipe)
    task.fill(cfg)
    teaching = make_teachers(loop.namespace, recipe, loop.device, first, data, sets_of(cfg, task))
    if cfg.get("precision") == BF16:
        for one in teaching.teachers.values():
            one.compute_in_half()
    if first:
        print("\n".join(beginning(name, recipe, teaching, data)), flush=True)
    log_dir = log_folder(cfg.output) if first else None
    snapshots = snapshots_of(recipe, teaching.first, cfg) if first else None
    plan = RunPlan(loop.length(task) if recipe.needs_length else None, bool(cfg.resume), data, int(cfg.seed))
    with seam.installed(
        loop.namespace, recipe, teaching.teachers, log_dir, cfg.frequent, snapshots, plan, task
    ) as distillation:
        result = loop.run()
    if first:
        save_maps(Path(cfg.output), distillation)
    return result, teaching_facts(name, recipe, teaching)
