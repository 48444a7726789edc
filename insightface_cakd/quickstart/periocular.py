"""The quickstart of periocular recognition: CKD and its two ablations."""

import time
from pathlib import Path

from insightface_cakd.data.faces import write_face_set
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.compare.protocols import SideBySide
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.periocular import FACE, STRIP, PeriocularResults, measure_periocular
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import run_entry
from insightface_cakd.quickstart.stage import Stage, finish, settings_of
from insightface_cakd.report.result import Section
from insightface_cakd.report.run_report import Report
from insightface_cakd.report.tables import Row
from insightface_cakd.runtime.atomic import require_new
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import progress_bar
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train

DEV = "dev"
CONFIG = "faces_ckd_tiny"
# Fewer than in other quickstarts: of each image the network sees two pictures.
PEOPLE, PICTURES, PAIRS, EPOCHS = 120, 10, 1000, 4


ALONE = Stage("strip alone", "alone", CONFIG, "ablations/ckd_strip_alone")
SHARED = Stage("strip + face without consistency", "shared", CONFIG, "ablations/ckd_no_consistency")
CONSISTENT = Stage("CKD", "ckd", CONFIG, "ckd")
STAGES = (ALONE, SHARED, CONSISTENT)


def quickstart(output: Path, seed: int = 2048) -> None:
    """Train networks for eye strips: alone, beside the face, and consistently.

    The steps: draw faces; train the three; measure them by strip, by face and strip against face; export the strip's network of CKD and
    check the file; write a report.

    Args:
        output: a new or empty folder for everything that is written.
        seed: seed of data, weights and order.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    require_new(output, RunError)
    data = output / "data"
    print("[1/6] drawing faces", flush=True)
    with progress_bar("faces") as progress:
        write_face_set(data, PEOPLE, PICTURES, PAIRS, seed, DEV, progress)
    for number, stage in enumerate(STAGES, start=2):
        print(f"\n[{number}/6] training {stage.title} (recipe {stage.recipe})", flush=True)
        _train(stage, data, output, seed)
    print("\n[5/6] exporting the strip's network of CKD to ONNX", flush=True)
    exported = export_run(output / CONSISTENT.folder, output / "strip.onnx", get_model)
    print(exported.summary())
    print("\n[6/6] measuring and writing the report", flush=True)
    measured = {stage.title: _measure(output / stage.folder, data) for stage in STAGES}
    report = report_of(output, measured, exported.summary())
    finish(output, report, f"{output / 'strip.onnx'} (an aligned face in, the strip's embedding out)", started)


def report_of(output: Path, measured: dict[str, PeriocularResults], exported: str) -> Report:
    """Return the report of the three networks.

    Args:
        output: folder of the quickstart.
        measured: title -> what was measured, of one set.
        exported: what was exported.
    """
    by_strip = {title: next(one for one in found.sets if one.variant == STRIP) for title, found in measured.items()}
    consistent, alone = by_strip[CONSISTENT.title], by_strip[ALONE.title]
    together = SideBySide(measured)
    return Report(
        title="insightface_cakd quickstart: periocular recognition",
        verdict=f"By the strip of the eyes {CONSISTENT.title} reaches {100 * consistent.verified.accuracy:.2f} % "
        f"{consistent.interval.points()}, the strip alone {100 * alone.verified.accuracy:.2f} % {alone.interval.points()}.",
        rows=comparison(measured),
        runs={stage.title: output / stage.folder for stage in STAGES},
        notes=[exported],
        sections=[
            Section("Each network", together.rows(), notes=together.lines()),
            Section(f"Mistakes of {CONSISTENT.title}", galleries=measured[CONSISTENT.title].galleries()),
        ],
    )


def comparison(measured: dict[str, PeriocularResults]) -> list[Row]:
    """Return the table of accuracies and equal error rates.

    A network that was trained on the strip alone has no face to compare with.

    Args:
        measured: title -> what was measured, of one set.
    """
    rows: list[Row] = []
    for title, found in measured.items():
        row: dict[str, str] = {"model": title}
        for one, (error, _) in zip(found.sets, found.errors, strict=True):
            absent = title == ALONE.title and one.variant != STRIP
            row[f"by {one.variant}" if one.variant in (STRIP, FACE) else one.variant] = (
                "-" if absent else f"{100 * one.verified.accuracy:.2f} % (EER {100 * error:.1f} %)"
            )
        rows.append(row)
    return rows


def _train(stage: Stage, data: Path, output: Path, seed: int) -> None:
    settings = settings_of(seed, [DEV], EPOCHS)
    train(Job(stage.config, stage.recipe, settings=settings, data=data, output=output / stage.folder))


def _measure(run: Path, data: Path) -> PeriocularResults:
    device = choose_device(None)
    network = run_entry(run.name, run).load(get_model, device)
    return measure_periocular(network, [data / f"{DEV}.bin"], Execution(device, bar=progress_bar))
