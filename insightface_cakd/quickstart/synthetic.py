"""The quickstart of a student that sees generated faces only."""

import time
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.data.faces import write_face_set
from insightface_cakd.errors import RunError
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.train_v2 import RunResult
from insightface_cakd.quickstart.stage import Stage, finish, settings_of
from insightface_cakd.recipe.settings import given
from insightface_cakd.report.result import Section
from insightface_cakd.report.run_report import Report
from insightface_cakd.runtime.atomic import require_new
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import progress_bar
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.show.synthetic import faces_section
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train

DEV = "dev"
CONFIG = "faces_cnn_tiny"
PEOPLE, PICTURES, PAIRS = 160, 8, 1000
# Of the teacher, which needs labels, and of each student; an epoch of the latter has as many images as the training set.
TEACHER_EPOCHS, STUDENT_EPOCHS = 8, 6
STUDENT = ("optimizer='adamw'", "lr=0.002", "weight_decay=0.0")


@dataclass(frozen=True)
class Student(Stage):
    """A student of generated faces.

    Args:
        changes: of the recipe's task.
    """

    recipe: str | None = "synthdistill"
    changes: tuple[str, ...] = ()


TEACHER = Stage("teacher", "teacher", CONFIG)
STUDENTS = (
    Student("student, generated faces, lambda 0", "lambda_0", CONFIG, changes=("task.resample=0.0",)),
    Student("student, generated faces, lambda 1", "lambda_1", CONFIG),
    Student("student, the faces of the data", "real", CONFIG, changes=("task.real=1.0",)),
)


def quickstart(output: Path, seed: int) -> None:
    """Distil a teacher into a CNN that sees generated faces only.

    The steps: draw data; train the teacher on it; train the same student on generated faces with and without resampling, and on the data
    itself; export the resampled one; write a report with a sheet of easy and hard faces.

    Args:
        output: a new or empty folder for everything that is written.
        seed: seed of data, weights and order.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    require_new(output, RunError)
    data = output / "data"
    print("[1/7] drawing faces", flush=True)
    with progress_bar("faces") as progress:
        write_face_set(data, PEOPLE, PICTURES, PAIRS, seed, DEV, progress)
    results = {}
    for number, stage in enumerate((TEACHER, *STUDENTS), start=2):
        print(f"\n[{number}/7] training the {stage.title} ({stage.config})", flush=True)
        results[stage.title] = _train(stage, output, data, seed)
    print("\n[6/7] exporting the student of lambda 1 to ONNX", flush=True)
    resampled = output / STUDENTS[1].folder
    exported = export_run(resampled, output / "student.onnx", get_model)
    print(exported.summary())
    print("\n[7/7] writing the report", flush=True)
    sheet = faces_section(resampled, choose_device(None), "Hard and easy faces of lambda 1")
    report = report_of(output, results, exported.summary(), sheet)
    finish(output, report, f"{output / 'student.onnx'} (weights: {RunFolder(resampled).model})", started)


def report_of(output: Path, results: dict[str, RunResult], exported: str, sheet: Section) -> Report:
    """Return the report of teacher and students.

    Args:
        output: folder of the quickstart.
        results: title -> what was measured.
        exported: what was exported.
        sheet: the faces that the resampled student finds hard and easy.
    """
    plain, resampled, real = (100 * results[stage.title].accuracy[DEV] for stage in STUDENTS)
    return Report(
        title="insightface_cakd quickstart: generated faces",
        verdict=f"Without a photo the student reaches {resampled:.2f} % with resampling and {plain:.2f} % without it; on the faces of the "
        f"data {real:.2f} %.",
        rows=_rows(results),
        runs={stage.title: output / stage.folder for stage in (TEACHER, *STUDENTS)},
        notes=[exported],
        sections=[sheet],
    )


def _train(stage: Stage, output: Path, data: Path, seed: int) -> RunResult:
    if not isinstance(stage, Student):
        settings = settings_of(seed, [DEV], TEACHER_EPOCHS)
        return train(Job(stage.config, settings=settings, data=data, output=output / stage.folder))
    settings = (*settings_of(seed, [DEV], STUDENT_EPOCHS), *STUDENT)
    taught = ("teacher.network=cnn_tiny", *given(teacher=str(RunFolder(output / TEACHER.folder).model)), *stage.changes)
    return train(Job(stage.config, stage.recipe, taught, settings, data, output / stage.folder))


def _rows(results: dict[str, RunResult]) -> list[dict[str, str]]:
    """Return the table: accuracy of teacher and students on people of nobody's training."""
    return [
        {"model": title, "accuracy": f"{100 * result.accuracy[DEV]:.2f} %", "seconds": f"{result.seconds:.0f}"}
        for title, result in results.items()
    ]
