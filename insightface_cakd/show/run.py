"""Inspects a finished run: where its centres look, what its prompts changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.nn.modules.batchnorm import _BatchNorm

from insightface_cakd.data.align.given import face_of
from insightface_cakd.data.bins import load_bin
from insightface_cakd.distill.snapshot import AFTER, BEFORE, Origin, Snapshot, put, read_snapshot, rebuild
from insightface_cakd.distill.sources.fields import SIDES, Side, fields_of
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.distill.urfm.positions import template
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.models import Embed
from insightface_cakd.recipe.urfm import FIRST
from insightface_cakd.report.result import Picture, Section
from insightface_cakd.runtime.run_folder import RUN, RunFolder
from insightface_cakd.show.attention import View
from insightface_cakd.show.faces import as_images, run_faces, spread, verification_sets
from insightface_cakd.show.picture import Look, as_png, draw

SHOWN = 3
# Size of the batch that gives the statistics of an untrained student's batch norms and of the tokens.
REFERENCE = 64
MOMENTS = ("before training", "after training")


@dataclass(frozen=True)
class Run:
    """A finished run with its first and last snapshot.

    Both are to be loaded into the student, which is beside its teacher.
    """

    folder: Path
    before: Snapshot
    after: Snapshot
    student: DistilledStudent
    device: torch.device

    @property
    def origin(self) -> Origin:
        """What the run was made of."""
        return self.after.origin


def open_run(folder: Path, device: torch.device, teacher: str | None = None) -> Run:
    """Build student and teacher of a run that left snapshots.

    `teacher` names the teacher's weights, if they are no longer where they were.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; expected the output of a run of CAKD. Correct the path.")
    if not any((folder / name).exists() for name in (BEFORE, AFTER)):
        _require_method(folder)
    before, after = (read_snapshot(folder / name) for name in (BEFORE, AFTER))
    return Run(folder, before, after, rebuild(after.origin, get_model, device, teacher), device)


def look(run: Run, images: Sequence[Path] = (), data: Path | None = None) -> Look:
    """Return where both sides' centres look, before and after training.

    Of several pairs of taps, the centres of the first.

    An untrained student has no statistics of its batch norms yet, and the mapping none of the tokens: those of a batch of
    the run's images stand in for them, as in the run's first step.

    Args:
        images: aligned faces of 112x112; some of the run's when not given.
        data: where the run's data is now, if it was moved.
    """
    if run.origin.parsed.urfm is None:
        raise RunError(_without_fields(run.folder))
    given = [face_of(path) for path in images]
    some = run_faces(run.origin, REFERENCE, data)
    first = spread(len(some), 0 if given else SHOWN)
    faces = np.stack([*given, *some[first]])
    everyone = np.concatenate([faces, np.delete(some, first, axis=0)])
    views = []
    for snapshot in (run.before, run.after):
        put(run.student, snapshot)
        views.append(_maps(run, everyone))
    ordered = [View(side, moment, maps[side]) for side in SIDES for moment, maps in zip(MOMENTS, views, strict=True)]
    spec = run.origin.parsed.urfm
    return Look(faces, ordered, some.mean(axis=(0, 3)), template().numpy(), spec.mapping_heads)


def prompt_rows(run: Run, data: Path | None = None) -> list[dict[str, str]]:
    """Return the teacher's accuracy on the run's sets, without and with prompts.

    A run without prompts gives no rows.
    """
    if run.origin.parsed.teacher.prompts is None:
        return []
    teacher = run.student.teacher
    put(run.student, run.after)
    named: dict[str, Embed] = {"teacher alone": teacher.computed, "with prompts": teacher}
    rows: list[dict[str, str]] = [{"teacher": name} for name in named]
    known = _measured_by_the_run(run)
    for path in verification_sets(run.origin, data):
        pairs = load_bin(path)
        for row, embed in zip(rows, named.values(), strict=True):
            kept = known.get(path.stem) if embed == teacher.computed else None
            accuracy = verify(embed, pairs, run.device).accuracy if kept is None else kept
            row[path.stem] = f"{100 * accuracy:.2f} %"
    return rows if len(rows[0]) > 1 else []


def _measured_by_the_run(run: Run) -> dict[str, float]:
    """Return set -> accuracy of the teacher as the run itself measured it (`teacher.check`)."""
    check = run.origin.parsed.teacher.check
    teacher = RunFolder(run.folder).teacher
    if check is None or teacher is None or teacher.accuracy is None:
        return {}
    return {Path(check.bin).stem: teacher.accuracy}


def show_fields(run: Run, look: Look, captioned: bool = True) -> Figure:
    """Return the picture of a run's local centres."""
    teacher, student = run.student.teacher.name, run.origin.network
    return draw(look, f"Where the local centres look: {teacher} teaches {student}, {run.after.step} steps", captioned)


def method_sections(run: Run) -> list[Section]:
    """Return report sections: where the centres look, and the teacher with prompts."""
    sections = []
    if run.origin.parsed.urfm is not None:
        seen = look(run)
        picture = Picture(as_png(show_fields(run, seen, captioned=False)), seen.caption, seen.alt)
        sections.append(Section("Local fields", picture=picture))
    rows = prompt_rows(run)
    if rows:
        sections.append(Section("The teacher's accuracy with and without prompts", rows))
    return sections


@torch.no_grad()
def _maps(run: Run, faces: np.ndarray) -> dict[Side, np.ndarray]:
    """Return each side's maps, (faces, L, rows, columns)."""
    student = run.student.eval()
    for module in student.backbone.modules():
        if isinstance(module, _BatchNorm) and module.num_batches_tracked == 0:
            module.train()
    fields = fields_of(student.sources)
    found = {}
    for side, (tokens, grid) in fields.tokens(student.observe(as_images(faces, run.device))).items():
        looks = fields.mappings[FIRST].looks(tokens.detach(), side).mean(dim=1)  # (faces, L, N)
        found[side] = looks[..., : grid.rows * grid.columns].unflatten(-1, (grid.rows, grid.columns)).cpu().numpy()
    return found


def _require_method(folder: Path) -> None:
    """Raise an error for a run without receptive fields and prompts; others pass."""
    recipe = RunFolder(folder).recipe or {"teacher": {}}
    if (folder / RUN).is_file() and recipe.get("urfm") is None and recipe["teacher"].get("prompts") is None:
        raise RunError(_without_fields(folder))


def _without_fields(folder: Path) -> str:
    return (
        f"{folder}: a run without unified receptive fields; expected one whose recipe has `urfm`. Train with such a recipe, for example "
        "--distill cakd."
    )
