"""The quickstart of landmarks: five points of drawn faces."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.data.faces.points import write_drawn_points
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.landmarks.errors import THRESHOLD, summarise
from insightface_cakd.evaluate.landmarks.measure import MODEL, SHAPE, PointErrors, measure_set
from insightface_cakd.export.landmark_run import export_landmark_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import run_entry
from insightface_cakd.quickstart.stage import Stage, finish, settings_of
from insightface_cakd.recipe.settings import given
from insightface_cakd.report.result import Section
from insightface_cakd.report.run_report import Report
from insightface_cakd.report.tables import Row
from insightface_cakd.runtime.atomic import require_new
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import progress_bar
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train

TEST = "test"
TASK = "task: {kind: landmarks, loss: l1}\n"
# The student imitates the teacher's points, and through a projector what its last blocks see.
TAUGHT = (
    TASK
    + """teacher: {network: vit_tiny}
losses:
  - {loss: mse, weight: 1}
  - {loss: fitnet, weight: 0.1, student: layer4, teacher: norm, projector: map_to_tokens}
"""
)


@dataclass(frozen=True)
class Sizes:
    """How much is drawn and trained."""

    people: int = 250
    others: int = 50
    pictures: int = 6
    epochs: int = 10


SIZES = Sizes()
TEACHER = Stage("teacher", "teacher", "faces_vit_tiny", text=TASK)
ALONE = Stage("student alone", "alone", "faces_cnn_tiny", text=TASK)
DISTILLED = Stage("student + distillation", "distilled", "faces_cnn_tiny", text=TAUGHT)
STAGES = (TEACHER, ALONE, DISTILLED)


def quickstart(output: Path, seed: int) -> None:
    """Distil a landmark ViT into a CNN on drawn faces.

    The steps: draw faces; train the teacher, the CNN alone and the same CNN distilled; measure the three beside the mean shape; export the
    distilled CNN for InsightFace; write a report with the faces of the largest errors.

    Args:
        output: a new or empty folder for everything that is written.
        seed: seed of data, weights and order.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    require_new(output, RunError)
    data = output / "data"
    _draw(data, seed)
    for number, stage in enumerate(STAGES, start=2):
        print(f"\n[{number}/6] training the {stage.title} ({stage.config})", flush=True)
        _train(stage, output, data, seed)
    print("\n[5/6] exporting the distilled student to ONNX", flush=True)
    exported = export_landmark_run(output / DISTILLED.folder, output / "student.onnx", get_model)
    print(exported.summary())
    print("\n[6/6] measuring, and writing the report", flush=True)
    results = {stage.title: _measure(output / stage.folder, data) for stage in STAGES}
    report = report_of(output, results, exported.summary())
    model = f"{output / 'student.onnx'} (weights: {RunFolder(output / DISTILLED.folder).model})"
    finish(output, report, model, started)


def report_of(output: Path, results: dict[str, PointErrors], exported: str) -> Report:
    """Return the report of the three networks.

    Args:
        output: folder of the quickstart.
        results: title -> what was measured.
        exported: what was exported.
    """
    alone, distilled = results[ALONE.title], results[DISTILLED.title]
    compared = (
        "nearer to the given points than" if distilled.value < alone.value else "no nearer to the given points than"
    )
    return Report(
        title="insightface_cakd quickstart: landmarks",
        verdict=f"{distilled.verdict} It is {compared} the student alone ({100 * alone.value:.2f} %).",
        rows=_rows(results),
        runs={stage.title: output / stage.folder for stage in STAGES},
        notes=[exported, *distilled.lines()],
        sections=[Section("Faces of the distilled student", galleries=distilled.galleries())],
    )


def _draw(data: Path, seed: int) -> None:
    """Write records of training and test faces, of different people."""
    print("[1/6] drawing faces", flush=True)
    parts = {"train": range(SIZES.people), TEST: range(SIZES.people, SIZES.people + SIZES.others)}
    for name, people in parts.items():
        with progress_bar(name) as progress:
            write_drawn_points(data, name, people, SIZES.pictures, seed, progress)


def _train(stage: Stage, output: Path, data: Path, seed: int) -> None:
    settings = (*settings_of(seed, [TEST], SIZES.epochs), "optimizer=adamw", "lr=0.002", "num_workers=0")
    taught = given(teacher=str(RunFolder(output / TEACHER.folder).model)) if stage is DISTILLED else ()
    train(Job(stage.config, stage.recipe_in(output), taught, settings, data, output / stage.folder))


def _measure(run: Path, data: Path) -> PointErrors:
    device = choose_device(None)
    return measure_set(run_entry(run.name, run).load(get_model, device), data, TEST, Execution(device))


def _rows(results: dict[str, PointErrors]) -> list[Row]:
    """Return the table: the mean shape, then each network."""
    first = next(iter(results.values()))
    lines = [(SHAPE, first.errors(first.usual, SHAPE))]
    lines += [(title, result.errors(result.usual, MODEL)) for title, result in results.items()]
    return [_row(title, errors, first.usual.replace("_", " ")) for title, errors in lines]


def _row(title: str, errors: np.ndarray, normaliser: str) -> Row:
    one = summarise(errors)
    return {
        "points of": title,
        f"NME ({normaliser})": f"{one.nme:.4f}",
        f"AUC at {THRESHOLD:g}": f"{one.auc:.4f}",
        f"failures at {THRESHOLD:g}": f"{100 * one.failures:.1f} %",
    }
