"""Snapshots of a run's method before and after training."""

import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.sources import build_sources
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.networks.kinds import GetModel
from insightface_cakd.recipe import Recipe
from insightface_cakd.runtime.reading import reading
from insightface_cakd.runtime.tensor_file import first_oddity, save_atomically
from insightface_cakd.teachers import Teacher, build_teacher

BEFORE, AFTER = "cakd_before.pt", "cakd_after.pt"


@dataclass(frozen=True)
class Origin:
    """What is needed to rebuild student, teacher and method of a run.

    Args:
        recipe: as it was resolved; the teacher's weights by their absolute path.
        teacher_sha256: of these weights; None where the teacher was not loaded from a file.
    """

    network: str
    embedding_size: int
    recipe: dict[str, Any]
    teacher_sha256: str | None
    rec: str
    val_targets: list[str]

    @property
    def parsed(self) -> Recipe:
        """The recipe, parsed."""
        return Recipe.model_validate(self.recipe)


@dataclass(frozen=True)
class Snapshot:
    """The state of a run's method, before or after training.

    `student` is the bare backbone's, `method` that of projectors, fields and prompts.
    """

    step: int
    student: dict[str, Tensor]
    method: dict[str, Tensor]
    origin: Origin


class Snapshots:
    """Writes a run's two snapshots; to be made on its first rank."""

    def __init__(self, folder: Path, recipe: Recipe, teacher: Teacher, cfg: Any) -> None:
        self.folder = folder
        self._recipe = recipe.model_dump()
        for spec in [self._recipe["teacher"], *self._recipe["teachers"].values()]:
            if spec["weights"] is not None:
                spec["weights"] = str(Path(spec["weights"]).expanduser().absolute())
        rec = str(cfg.rec)
        self._facts = {
            "teacher_sha256": teacher.sha256,
            "rec": rec if rec == "synthetic" else str(Path(rec).absolute()),
            "val_targets": [str(name) for name in getattr(cfg, "val_targets", None) or ()],
        }
        self._origin: Origin | None = None

    def watch(self, distillation: Distillation, network: str, embedding_size: int) -> None:
        """Write the first snapshot just before the student's first training step.

        A resumed run, which has taken that step, writes none.
        """
        student = distillation.student
        assert student is not None
        self._origin = Origin(network, embedding_size, self._recipe, **self._facts)  # type: ignore[arg-type]

        def before_forward(module: nn.Module, _: Any) -> None:
            if not module.training:
                return
            hook.remove()
            if distillation.step.step == 0:
                # A second snapshot of an earlier run in this folder does not belong to this run.
                (self.folder / AFTER).unlink(missing_ok=True)
                self._write(BEFORE, distillation)

        hook = student.register_forward_pre_hook(before_forward)

    def write_after(self, distillation: Distillation) -> None:
        """Write the second snapshot, at the end of a run.

        A run that built no student writes nothing; a term that is not finite is a RunError.
        """
        if self._origin is not None:
            distillation.step.check_finite()
            self._write(AFTER, distillation)

    def _write(self, name: str, distillation: Distillation) -> None:
        student = distillation.student
        assert student is not None
        content = {
            "step": distillation.step.step,
            "student": _on_cpu(student.state_dict()),
            "method": _on_cpu(student.method.state_dict()),
            "origin": asdict(self._origin),  # type: ignore[arg-type]
        }
        save_atomically(content, self.folder / name)


def wants_snapshots(recipe: Recipe) -> bool:
    """Return whether a recipe has fields or prompts to look at."""
    return recipe.urfm is not None or recipe.teacher.prompts is not None


def snapshots_of(recipe: Recipe, teacher: Teacher | None, cfg: Any) -> Snapshots | None:
    """Return the writer of a run's snapshots, or None.

    To be called on the run's first rank. None for a method without fields and prompts.
    """
    if teacher is None or not wants_snapshots(recipe):
        return None
    return Snapshots(Path(str(cfg.output)), recipe, teacher, cfg)


def _on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in state.items()}


def read_snapshot(path: Path) -> Snapshot:
    """Read what `Snapshots` wrote; a missing or damaged file is a RunError."""
    if not path.is_file():
        when = (
            "at its first step" if path.name == BEFORE else "when it ends; a run that was stopped goes on with --resume"
        )
        raise RunError(f"{path}: does not exist; expected the snapshot that a run of CAKD writes {when}. Train again.")
    with reading(path, RunError, "a snapshot of a run. Train again.", Exception):
        content = torch.load(path, map_location="cpu", weights_only=True)
        origin = content["origin"]
        found = Origin(**{field.name: origin[field.name] for field in fields(Origin)})
        odd = first_oddity(content["student"]) or first_oddity(content["method"])
        if odd is not None:
            raise ValueError(f"it holds {odd}")
        snapshot = Snapshot(int(content["step"]), content["student"], content["method"], found)
        snapshot.origin.parsed  # noqa: B018
    return snapshot


def rebuild(origin: Origin, get_model: GetModel, device: torch.device, weights: str | None = None) -> DistilledStudent:
    """Return a run's student beside its teacher, in eval mode.

    The weights are the initial ones; load a snapshot with `put`. `weights` is the teacher's file, if it is no longer where it was; it must
    be the same file.
    """
    recipe = origin.parsed
    first = recipe.teacher
    first.check, first.sha256, first.weights = None, origin.teacher_sha256, weights or first.weights
    teachers = {name: build_teacher(spec, get_model, device) for name, spec in recipe.named_teachers.items()}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # The run has already shown these warnings.
        warnings.simplefilter("ignore")
        backbone = get_model(origin.network, num_features=origin.embedding_size, fp16=False, dropout=0.0)
        student = DistilledStudent(backbone.to(device), teachers, build_sources(recipe, teachers))
    return student.to(device).eval()


def put(student: DistilledStudent, snapshot: Snapshot) -> None:
    """Load a snapshot of the same run, the prompts into the teacher."""
    try:
        student.load_state_dict(snapshot.student)
        student.method.load_state_dict(snapshot.method)
    except RuntimeError as error:
        reason = in_one_line(error)[:200]
        raise RunError(f"snapshot: does not fit the student of its run ({reason}). Train again.") from error
