"""The quickstart of identification: a small distillation from data to report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.faces import write_face_set
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.split import split_faces
from insightface_cakd.distill.snapshot import wants_snapshots
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.compare.summary import RunComparison, compare_runs
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.train_v2 import RunResult
from insightface_cakd.networks.entries import Entry, find_entry
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.quickstart.stage import Stage, finish, settings_of
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.report.result import Section
from insightface_cakd.report.run_report import Report
from insightface_cakd.report.teaching import distilled_below, reached, weak_teacher
from insightface_cakd.runtime.atomic import require_new
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import progress_bar
from insightface_cakd.runtime.run_folder import RUN, RunFolder
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
# On faces or from a teacher of the user's own, for which CAKD's taps may not be.
OWN = "recommended"


def quickstart(output: Path, faces: Path | None = None, seed: int = 2048, teacher: str | None = None) -> None:
    """Distil a ViT teacher into a CNN, on a small data set.

    The steps: make data; train the teacher, the CNN alone and the same CNN distilled; compare the three; export the
    distilled CNN and check the file; write a report. Drawn faces and a teacher of our own show CAKD, others the recipe `recommended`.

    Args:
        output: a new or empty folder for everything that is written.
        faces: aligned faces, one folder per person; None draws faces.
        seed: seed of data, weights and order.
        teacher: an .onnx or a run's folder; it is measured, and not trained.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    require_new(output, RunError)
    data, given_teacher = output / "data", None if teacher is None else _open(teacher)
    _make_data(data, faces, seed)
    distilled = DISTILLED if faces is None and teacher is None else replace(DISTILLED, recipe=OWN)
    models, results, settings = {TEACHER.title: output / TEACHER.folder}, {}, settings_of(seed, [DEV], EPOCHS)
    if given_teacher is not None:
        print(f"\n[2/6] measuring the teacher ({given_teacher.path})", flush=True)
        results[TEACHER.title], width = _measure(given_teacher, data)
        models[TEACHER.title], settings = Path(str(teacher)), (*settings, f"embedding_size={width}")
    for number, stage in enumerate((TEACHER, ALONE, distilled), start=2):
        if stage.title in results:
            continue
        print(f"\n[{number}/6] training the {stage.title} ({stage.config})", flush=True)
        taught = given(teacher=teacher or str(RunFolder(output / TEACHER.folder).model)) if stage.recipe else ()
        models[stage.title] = output / stage.folder
        results[stage.title] = train(Job(stage.config, stage.recipe, taught, settings, data, models[stage.title]))
        if stage is ALONE and (line := weak_teacher(*_accuracies(results))) is not None:
            print(line, flush=True)
    print("\n[5/6] exporting the distilled student to ONNX", flush=True)
    exported = export_run(output / DISTILLED.folder, output / "student.onnx", get_model)
    print(exported.summary())
    print("\n[6/6] writing the report", flush=True)
    compared = _compare(models, data)
    report = report_of(models, results, exported.summary(), compared, _method(distilled, output))
    finish(
        output,
        report,
        f"{output / 'student.onnx'} (weights: {RunFolder(output / DISTILLED.folder).model})",
        started,
        [*compared.sentences, *_remark(results)],
    )


def report_of(
    models: Mapping[str, Path],
    results: dict[str, RunResult],
    exported: str,
    compared: RunComparison,
    method: Sequence[Section],
) -> Report:
    """Return the report of the three models.

    Args:
        models: title -> output folder, or a teacher's file.
        results: title -> what was measured.
        exported: what was exported.
        compared: the three on the same pairs.
        method: sections on the method.
    """
    teacher, alone = _accuracies(results)
    by_chance = DISTILLED.title in compared.by_chance
    return Report(
        title="insightface_cakd quickstart",
        verdict=reached(DISTILLED.title, results[DISTILLED.title].accuracy[DEV], alone, teacher, by_chance),
        rows=_rows(results),
        runs={title: folder for title, folder in models.items() if (folder / RUN).is_file()},
        notes=[exported],
        sections=[*compared.sections, *method],
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


def _open(teacher: str) -> Entry:
    """Return a teacher of the user's own.

    Raises:
        RunError: its network is not known.
    """
    found = find_entry(Path(teacher))
    if found.runtime == "torch" and found.network is None:
        raise RunError(
            f"--teacher {teacher}: which network these weights are of is not known; expected an .onnx, or the output folder of a run. "
            "Export it to ONNX, or train with `cakd train --distill` and a recipe that names the network."
        )
    return found


def _measure(teacher: Entry, data: Path) -> tuple[RunResult, int]:
    """Return what a teacher reaches, and the width of its embeddings."""
    started, device = time.monotonic(), choose_device(None)
    embed, pairs = teacher.load(get_model, device), load_bin(data / f"{DEV}.bin")
    with progress_bar("teacher") as progress, evaluating(embed):
        verified = verify(embed, pairs, device, progress=progress)
        width = embed(torch.zeros(1, 3, FACE_SIZE, FACE_SIZE, device=device)).shape[1]
    print(f"the teacher: {100 * verified.accuracy:.2f} % on {DEV}", flush=True)
    return RunResult(accuracy={DEV: verified.accuracy}, seconds=time.monotonic() - started), width


def _compare(models: Mapping[str, Path], data: Path) -> RunComparison:
    """Compare the three models on the same pairs.

    The result has confidence intervals, a paired test, curves, cost, and the teacher's gallery with the student's probes.
    """
    ordered = {title: models[title] for title in (ALONE.title, DISTILLED.title, TEACHER.title)}
    mixed = (TEACHER.title, DISTILLED.title)
    return compare_runs(ordered, data / f"{DEV}.bin", choose_device(None), get_model, mixed, PAIRS)


def _method(stage: Stage, output: Path) -> list[Section]:
    """Return the report's sections on the method of a distilled run.

    They show receptive fields and prompts; other recipes have none.
    """
    if not wants_snapshots(load_recipe(str(stage.recipe))):
        return []
    return method_sections(open_run(output / stage.folder, choose_device(None)))


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
