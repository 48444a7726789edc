"""The quickstart of identification: a small distillation from data to report."""

import time
from pathlib import Path

from insightface_cakd.data.faces import write_face_set
from insightface_cakd.data.split import split_faces
from insightface_cakd.distill.snapshot import wants_snapshots
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.compare.summary import RunComparison, compare_runs
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.train_v2 import RunResult
from insightface_cakd.quickstart.stage import Stage, finish, settings_of
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.report.result import Section
from insightface_cakd.report.run_report import Report
from insightface_cakd.report.teaching import distilled_below, weak_teacher
from insightface_cakd.runtime.atomic import require_new
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import progress_bar
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.show.run import method_sections, open_run
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train

DEV = "dev"
# Fewer epochs than in the configs, so that two cores need less than five minutes.
EPOCHS = 5
# Pairs in the comparison: every second pair of the drawn set, so that its ten folds keep as many same as different pairs.
PAIRS = 1000


TEACHER = Stage("teacher", "teacher", "faces_vit_tiny")
ALONE = Stage("student alone", "alone", "faces_cnn_tiny")
DISTILLED = Stage("student + distillation", "distilled", "faces_cnn_tiny", "quickstart")


def quickstart(output: Path, faces: Path | None = None, seed: int = 2048) -> None:
    """Distil a ViT teacher into a CNN, on a small data set.

    The steps: make data; train the teacher, the CNN alone and the same CNN distilled; compare the three; export the
    distilled CNN and check the file; write a report.

    Args:
        output: a new or empty folder for everything that is written.
        faces: aligned faces, one folder per person; None draws faces.
        seed: seed of data, weights and order.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    require_new(output, RunError)
    data = output / "data"
    _make_data(data, faces, seed)
    results = {}
    for number, stage in enumerate((TEACHER, ALONE, DISTILLED), start=2):
        print(f"\n[{number}/6] training the {stage.title} ({stage.config})", flush=True)
        results[stage.title] = _train(stage, output, data, seed)
        if stage is ALONE and (line := weak_teacher(*_accuracies(results))) is not None:
            print(line, flush=True)
    print("\n[5/6] exporting the distilled student to ONNX", flush=True)
    exported = export_run(output / DISTILLED.folder, output / "student.onnx", get_model)
    print(exported.summary())
    print("\n[6/6] writing the report", flush=True)
    rows = _rows(results)
    compared = _compare(output, data)
    report = Report(
        title="insightface_cakd quickstart",
        rows=rows,
        runs={stage.title: output / stage.folder for stage in (TEACHER, ALONE, DISTILLED)},
        notes=[exported.summary(), *_remark(results)],
        sections=[*compared.sections, *_method(output / DISTILLED.folder)],
    )
    finish(
        output,
        report,
        f"{output / 'student.onnx'} (weights: {RunFolder(output / DISTILLED.folder).model})",
        started,
        [*compared.sentences, *_remark(results)],
    )


def _make_data(data: Path, faces: Path | None, seed: int) -> None:
    """Write train.rec, train.idx, property and dev.bin."""
    if faces is None:
        print("[1/6] drawing faces", flush=True)
        with progress_bar("faces") as progress:
            write_face_set(data, seed=seed, progress=progress)
    else:
        print(f"[1/6] packing {faces}", flush=True)
        split_faces(faces, data, DEV, seed)


def _train(stage: Stage, output: Path, data: Path, seed: int) -> RunResult:
    settings = settings_of(seed, [DEV], EPOCHS)
    taught = given(teacher=str(RunFolder(output / TEACHER.folder).model)) if stage.recipe else ()
    return train(Job(stage.config, stage.recipe, taught, settings, data, output / stage.folder))


def _compare(output: Path, data: Path) -> RunComparison:
    """Compare the three models on the same pairs.

    The result has confidence intervals, a paired test, curves, cost, and the teacher's gallery with the student's probes.
    """
    runs = {stage.title: output / stage.folder for stage in (ALONE, DISTILLED, TEACHER)}
    mixed = (TEACHER.title, DISTILLED.title)
    return compare_runs(runs, data / f"{DEV}.bin", choose_device(None), get_model, mixed, PAIRS)


def _method(run: Path) -> list[Section]:
    """Return the report's sections on the method of a distilled run.

    They show receptive fields and prompts; other recipes have none.
    """
    if not wants_snapshots(load_recipe(str(DISTILLED.recipe))):
        return []
    return method_sections(open_run(run, choose_device(None)))


def _accuracies(results: dict[str, RunResult]) -> tuple[float, float]:
    """Return those of the teacher and of the student alone."""
    return results[TEACHER.title].accuracy[DEV], results[ALONE.title].accuracy[DEV]


def _remark(results: dict[str, RunResult]) -> list[str]:
    """Return what to do where distillation cost the student accuracy."""
    teacher, alone = _accuracies(results)
    line = distilled_below(DISTILLED.title, results[DISTILLED.title].accuracy[DEV] - alone, teacher, alone)
    return [] if line is None else [line]


def _rows(results: dict[str, RunResult]) -> list[dict[str, str]]:
    """Return the table: accuracy of the three models, and distillation's gain."""
    rows = [
        {"model": title, "accuracy": f"{100 * result.accuracy[DEV]:.2f} %", "seconds": f"{result.seconds:.0f}"}
        for title, result in results.items()
    ]
    difference = results[DISTILLED.title].accuracy[DEV] - results[ALONE.title].accuracy[DEV]
    rows.append({"model": "difference", "accuracy": f"{100 * difference:+.2f} points", "seconds": ""})
    return rows
