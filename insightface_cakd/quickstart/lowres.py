"""The quickstart of low resolution: a student that sees small faces."""

import time
from pathlib import Path

from insightface_cakd.data.faces import write_face_set
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.compare.protocols import SideBySide
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.set_tables import SetResults
from insightface_cakd.evaluate.pairs.sets import measure_sets
from insightface_cakd.evaluate.pairs.variants import parse_variants
from insightface_cakd.export.student import export_run
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

DEV = "dev"
# Fewer people than in the quickstart of identification, since three students are trained.
PEOPLE, PICTURES, PAIRS, EPOCHS = 240, 10, 600, 5
SIZES = (112, 28, 14, 10, 7)
# Share of the test's statistics in the rows with FaceBN.
SHARE = 0.5


TEACHER = Stage("teacher", "teacher", "faces_vit_tiny")
ALONE = Stage("student alone", "alone", "faces_cnn_tiny")
COSINE = Stage("+ teacher, whole faces", "cosine", "faces_cnn_tiny", "cosine")
AIRD = Stage("+ teacher, low resolution (AIRD-style)", "aird", "faces_cnn_tiny", "aird")
STAGES = (TEACHER, ALONE, COSINE, AIRD)


def quickstart(output: Path, seed: int = 2048) -> None:
    """Teach a student small faces, and measure it at each size.

    The steps: draw faces; train a teacher, and a student alone, under the teacher on whole faces, and on faces of 7 to 112 pixels; measure
    all at each size, with and without FaceBN; export the last student and check the file; write a report.

    Args:
        output: a new or empty folder for everything that is written.
        seed: seed of data, weights and order.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    require_new(output, RunError)
    data, steps = output / "data", len(STAGES) + 3
    print(f"[1/{steps}] drawing faces", flush=True)
    with progress_bar("faces") as progress:
        write_face_set(data, PEOPLE, PICTURES, PAIRS, seed, DEV, progress)
    for number, stage in enumerate(STAGES, start=2):
        print(f"\n[{number}/{steps}] training the {stage.title} ({stage.recipe or stage.config})", flush=True)
        _train(stage, data, output, seed)
    print(f"\n[{steps - 1}/{steps}] exporting the last student to ONNX", flush=True)
    exported = export_run(output / AIRD.folder, output / "student.onnx", get_model)
    print(exported.summary())
    print(f"\n[{steps}/{steps}] measuring at {', '.join(map(str, SIZES))} pixels", flush=True)
    measured = {stage.title: _measure(output / stage.folder, data) for stage in STAGES if stage is not TEACHER}
    report = report_of(output, measured, exported.summary())
    finish(output, report, f"{output / 'student.onnx'} (weights: {RunFolder(output / AIRD.folder).model})", started)


def report_of(output: Path, measured: dict[str, SetResults], exported: str) -> Report:
    """Return the report of the students at each size.

    Args:
        output: folder of the quickstart.
        measured: title -> what was measured at `SIZES`, without FaceBN and with it.
        exported: what was exported.
    """
    smallest = {title: [one for one in found.sets if not one.face_bn][-1] for title, found in measured.items()}
    taught, alone = smallest[AIRD.title], smallest[ALONE.title]
    together = SideBySide(measured)
    return Report(
        title="insightface_cakd quickstart: low resolution",
        verdict=f"At {min(SIZES)} pixels the student taught on small faces reaches {100 * taught.verified.accuracy:.2f} % "
        f"{taught.interval.points()}, the student alone {100 * alone.verified.accuracy:.2f} % {alone.interval.points()}.",
        rows=comparison(measured),
        runs={stage.title: output / stage.folder for stage in STAGES},
        notes=[exported, "Both images of a pair are shrunk to the size and enlarged again."],
        sections=[
            Section("Each student", together.rows(), notes=together.lines()),
            Section(f"Mistakes of the student {AIRD.title}", galleries=measured[AIRD.title].galleries()),
        ],
    )


def comparison(measured: dict[str, SetResults]) -> list[Row]:
    """Return the accuracies of each model by size, with and without FaceBN.

    Args:
        measured: title -> what was measured at `SIZES`, without FaceBN and with it.
    """
    rows: list[Row] = []
    for title, found in measured.items():
        for share in (0.0, SHARE):
            cells = {
                f"{size} px": f"{100 * accuracy:.2f} %"
                for size, accuracy in zip(SIZES, _accuracies(found, share), strict=True)
            }
            rows.append({"model": f"{title}, FaceBN {share:g}" if share else title} | cells)
    return rows


def _accuracies(found: SetResults, share: float) -> list[float]:
    return [one.verified.accuracy for one in found.sets if one.face_bn == share]


def _train(stage: Stage, data: Path, output: Path, seed: int) -> None:
    settings = settings_of(seed, [DEV], EPOCHS)
    taught = given(teacher=str(RunFolder(output / TEACHER.folder).model)) if stage.recipe else ()
    train(Job(stage.config, stage.recipe, taught, settings, data, output / stage.folder))


def _measure(run: Path, data: Path) -> SetResults:
    """Measure both images low at each size."""
    device = choose_device(None)
    network = run_entry(run.name, run).load(get_model, device)
    variants = parse_variants(["plain" if size == max(SIZES) else f"lowres:{size}" for size in SIZES], SHARE)
    return SetResults(
        measure_sets(network, [data / f"{DEV}.bin"], variants, Execution(device, bar=progress_bar), "both")
    )
