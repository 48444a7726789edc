"""Distillation for the rest of a process: what a patched `train_v2.py` calls."""

import atexit
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.maps import save_maps
from insightface_cakd.distill.monitor import log_folder
from insightface_cakd.distill.plan import RunPlan, planned_length
from insightface_cakd.distill.snapshot import Snapshots, snapshots_of
from insightface_cakd.errors import CAKDError, RecipeError
from insightface_cakd.hosts.checkout import fingerprint
from insightface_cakd.hosts.embedded.parts import RunResult
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.runtime.foreign import anything_foreign
from insightface_cakd.runtime.idle_warnings import leave_out_idle_warnings
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks.known import task_of
from insightface_cakd.tasks.provenance import teaching_facts, write_provenance
from insightface_cakd.tasks.seam import install
from insightface_cakd.tasks.teaching import make_teachers, sets_of
from insightface_cakd.tasks.telling import beginning, ending, logged_accuracies


def enter(
    namespace: ModuleType,
    config: str,
    recipe: str | None,
    teacher: str | None = None,
    centres: Sequence[str] = (),
    prototypes: str | None = None,
    init: str | None = None,
) -> Distillation:
    """Distil for the rest of the process.

    A patched `train_v2.py` calls this before its own `main`. The teacher is built on the script's device (the GPU of its rank, else the
    CPU) and measured by rank 0.

    Args:
        namespace: the running script, `sys.modules["__main__"]`.
        config: path of the run's config, as the script takes it.
        recipe: name or path; None is refused.
        teacher: replaces the recipe's `teacher.weights`.
        centres: replaces the recipe's `teacher.centres`.
        prototypes: replaces the recipe's `teacher.prototypes`.
        init: replaces the recipe's `student.weights`.

    Raises:
        SystemExit: no recipe, or recipe or teacher cannot be used; one line on stderr and exit code 1, as a script ends.
    """
    try:
        if not recipe:
            raise RecipeError(
                "--teacher, --centres, --prototypes or --init without --distill; expected a recipe. Add --distill RECIPE."
            )
        with anything_foreign():
            loaded = load_recipe(recipe, given(teacher, centres, prototypes, init))
            return _enter(namespace, namespace.get_config(config), Path(recipe).stem, loaded)
    except CAKDError as error:
        raise SystemExit(f"train_v2.py: error: {error}") from error


def _enter(namespace: ModuleType, cfg: Any, name: str, recipe: Recipe) -> Distillation:
    leave_out_idle_warnings()
    device = torch.device("cuda", namespace.local_rank) if torch.cuda.is_available() else torch.device("cpu")
    first = namespace.rank == 0
    data = Path(str(cfg.rec))
    task = task_of(recipe)
    task.fill(cfg)
    teaching = make_teachers(namespace, recipe, device, first, data, sets_of(cfg, task))
    if first:
        print("\n".join(beginning(name, recipe, teaching, data)), flush=True)
    snapshots = snapshots_of(recipe, teaching.first, cfg) if first else None
    log_dir = log_folder(cfg.output) if first else None
    length = planned_length(cfg, namespace.world_size) if recipe.needs_length else None
    plan = RunPlan(length, bool(cfg.resume), data, int(cfg.seed))
    distillation = install(namespace, recipe, teaching.teachers, log_dir, cfg.frequent, snapshots, plan, task)
    run = _Run(cfg, _host_of(namespace) | teaching_facts(name, recipe, teaching)) if first else None
    atexit.register(_leave, distillation, snapshots, run, _ends_of(namespace))
    return distillation


@dataclass(frozen=True)
class _Run:
    """What the first process knows of the run, for its end."""

    cfg: Any
    facts: dict[str, Any]

    @property
    def output(self) -> Path:
        return Path(str(self.cfg.output))

    def end(self) -> None:
        """Write `run.json`, and say what the run reached."""
        write_provenance(self.output, vars(self.cfg), self.facts)
        print("\n".join(ending(RunResult(accuracy=logged_accuracies(self.output)), RunFolder(self.output))), flush=True)


def _host_of(namespace: ModuleType) -> dict[str, Any]:
    """Return what is recorded of the script's checkout; Python forgets a script's file when it ends."""
    script = getattr(namespace, "__file__", None)
    return {} if script is None else {"host": fingerprint(Path(script).resolve().parent).facts}


def _ends_of(namespace: ModuleType) -> list[bool]:
    """Return a list that gets an item when the script's `main` has come to its end."""
    ends: list[bool] = []
    main = getattr(namespace, "main", None)

    def main_and_note(*args: Any) -> None:
        assert main is not None
        main(*args)
        ends.append(True)

    if main is not None:
        namespace.main = main_and_note  # type: ignore[attr-defined]
    return ends


def _leave(distillation: Distillation, snapshots: Snapshots | None, run: _Run | None, ends: list[bool]) -> None:
    """End a script's distillation; one that failed or was stopped writes nothing.

    `run` is that of the first process.
    """
    distillation.monitor.close()
    if not ends:
        return
    try:
        if run is not None and run.output.is_dir():
            save_maps(run.output, distillation)
            run.end()
        if snapshots is not None:
            snapshots.write_after(distillation)
    except CAKDError as error:
        print(f"train_v2.py: error: {error}", file=sys.stderr)
