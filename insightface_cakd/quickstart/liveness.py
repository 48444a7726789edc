"""The quickstart of anti-spoofing: a domain that the network has not seen."""

import time
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.data.faces.live import DOMAINS, write_live_faces
from insightface_cakd.data.faces.sets import draw_folders
from insightface_cakd.data.liveness import read_liveness
from insightface_cakd.data.pack import pack
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.compare.protocols import SideBySide
from insightface_cakd.evaluate.liveness.result import LivenessResult, det_drawings
from insightface_cakd.evaluate.liveness.scoring import measure_liveness
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
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from insightface_cakd.teachers.masked_autoencoder import train_encoder

CONFIG = "faces_cnn_tiny"
*SOURCES, HELD_OUT = (domain.name for domain in DOMAINS)


@dataclass(frozen=True)
class Sizes:
    """How much is drawn and trained.

    Args:
        people, pictures: in each domain, and of each person and kind.
        known, shown: people of the teachers' faces, and pictures of each.
        steps, batch: of the generative teacher.
    """

    people: int = 50
    pictures: int = 4
    epochs: int = 6
    known: int = 100
    shown: int = 8
    teacher_epochs: int = 3
    steps: int = 60
    batch: int = 32


SIZES = Sizes()
ALONE = Stage("student alone", "alone", CONFIG, text="task: liveness\n")
DISTILLED = Stage("student + dtda", "distilled", CONFIG, "dtda")
STAGES = (ALONE, DISTILLED)


def quickstart(output: Path, seed: int) -> None:
    """Learn liveness on two drawn domains; test it on a third.

    The steps: draw live faces and screen replays in three domains, and faces for the teachers; train a recogniser and a masked
    autoencoder as teachers; train the CNN alone and with `dtda`; measure both on the domain that was left out; export the second; write a
    report with the DET plots.

    Args:
        output: a new or empty folder for everything that is written.
        seed: seed of data, weights and order.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    require_new(output, RunError)
    data = output / "data"
    print(f"[1/6] drawing the domains {', '.join([*SOURCES, HELD_OUT])}", flush=True)
    with progress_bar("faces") as progress:
        write_live_faces(data, SIZES.people, SIZES.pictures, seed, progress)
    taught = _teachers(output, seed)
    for number, stage in enumerate(STAGES, start=3):
        print(f"\n[{number}/6] training the {stage.title} on {', '.join(SOURCES)}", flush=True)
        _train(stage, output, data, seed, taught)
    print("\n[5/6] exporting the student of dtda to ONNX", flush=True)
    exported = export_run(output / DISTILLED.folder, output / "student.onnx", get_model)
    print(exported.summary())
    print(f"\n[6/6] measuring on {HELD_OUT}, and writing the report", flush=True)
    measured = {stage.title: _measure(output / stage.folder, data) for stage in STAGES}
    report = report_of(output, measured, exported.summary())
    finish(output, report, f"{output / 'student.onnx'} (an aligned face in, the logits of spoof and live out)", started)


def report_of(output: Path, measured: dict[str, LivenessResult], exported: str) -> Report:
    """Return the report of both students, with one DET plot.

    Args:
        output: folder of the quickstart.
        measured: title -> what was measured, of one domain.
        exported: what was exported.
    """
    rates = {title: found.rates()[HELD_OUT] for title, found in measured.items()}
    alone, taught = (100 * rates[stage.title].acer for stage in STAGES)
    tests = {title: found.tests[HELD_OUT] for title, found in measured.items()}
    rows: list[Row] = [
        {"model": title, "APCER": f"{one.apcer:.3f}", "BPCER": f"{one.bpcer:.3f}", "faces": str(len(tests[title].live))}
        for title, one in rates.items()
    ]
    drawings = det_drawings(tests, {title: found.threshold for title, found in measured.items()})
    compared = "less than" if taught < alone else "no less than"
    return Report(
        title=f"insightface_cakd quickstart: anti-spoofing, tested on {HELD_OUT}",
        verdict=f"With its teachers the student errs on {taught:.1f} % of {HELD_OUT} (HTER), {compared} alone ({alone:.1f} %).",
        rows=comparison(measured),
        runs={stage.title: output / stage.folder for stage in STAGES},
        notes=[exported],
        sections=[Section(f"Errors on {HELD_OUT}", rows, notes=SideBySide(measured).lines(), drawings=drawings)],
    )


def comparison(measured: dict[str, LivenessResult]) -> list[Row]:
    """Return the table of the domain that was left out.

    Args:
        measured: title -> what was measured, of one domain.
    """
    return [
        {"model": title} | {name: f"{found.facts()[name.lower()]:.3f}" for name in ("AUC", "EER", "HTER")}
        for title, found in measured.items()
    ]


def _teachers(output: Path, seed: int) -> tuple[str, ...]:
    """Train both teachers on faces alone, no spoofs; return the recipe's settings."""
    print("\n[2/6] training the teachers: a recogniser and a masked autoencoder", flush=True)
    faces, records, encoder = output / "faces", output / "records", output / "generative.pt"
    # Other people than those of the domains.
    first = len(DOMAINS) * SIZES.people
    draw_folders(faces, range(first, first + SIZES.known), SIZES.shown, seed)
    pack(faces, records)
    folder = output / "recogniser"
    train(Job(CONFIG, None, (), _settings(seed, SIZES.teacher_epochs), records, folder))
    error = train_encoder(faces, encoder, SIZES.steps, SIZES.batch, seed, choose_device(None))
    print(f"masked autoencoder: squared error of hidden pixels {error:.3f}")
    return (
        "teachers.perceptual.network=cnn_tiny",
        f"teachers.perceptual.weights={RunFolder(folder).model}",
        f"teachers.generative.weights={encoder}",
    )


def _settings(seed: int, epochs: int, tested: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (*settings_of(seed, tested, epochs), "batch_size=32", "optimizer=adamw", "lr=0.002", "num_workers=0")


def _train(stage: Stage, output: Path, data: Path, seed: int, taught: tuple[str, ...]) -> None:
    given = () if stage is ALONE else taught
    settings = _settings(seed, SIZES.epochs, (HELD_OUT,))
    train(Job(stage.config, stage.recipe_in(output), given, settings, data, output / stage.folder))


def _measure(run: Path, data: Path) -> LivenessResult:
    network = run_entry(run.name, run).load(get_model, choose_device(None))
    return measure_liveness(network, read_liveness(data), SOURCES, [HELD_OUT])
