"""The quickstart of identification: a small distillation from data to report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.faces import write_face_set
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.data.split import split_faces
from insightface_cakd.distill.snapshot import wants_snapshots
from insightface_cakd.evaluate.compare.summary import RunComparison, compare_runs
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.train_v2 import RunResult
from insightface_cakd.networks.entries import Entry
from insightface_cakd.quickstart.stage import Stage, finish, settings_of
from insightface_cakd.quickstart.teacher import measure_teacher, open_teacher
from insightface_cakd.quickstart.unfinished import going_on
from insightface_cakd.quickstart.verdict import Reached, verdict
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.report.result import Section
from insightface_cakd.report.run_report import Report
from insightface_cakd.report.tables import Row
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import progress_bar
from insightface_cakd.runtime.run_folder import RUN, RunFolder
from insightface_cakd.show.run import method_sections, open_run
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from insightface_cakd.tasks.precompute import cache_teacher

DEV = "dev"
# Fewer epochs than in the configs, so that two cores need less than five minutes. Few images get as many steps in more epochs.
EPOCHS, STEPS = 5, 300
# Images of a step, as in the two configs.
BATCH = 64
# A teacher that would take longer in the loop answers each image once, before.
LIVE_SECONDS = 240

TEACHER = Stage("teacher", "teacher", "faces_vit_tiny")
ALONE = Stage("student alone", "alone", "faces_cnn_tiny")
DISTILLED = Stage("student + distillation", "distilled", "faces_cnn_tiny", "quickstart")
# On faces or from a teacher of the user's own, for which CAKD's taps may not be.
OWN, CACHED = "recommended", "recommended_cached"


@dataclass
class _Work:
    """What a quickstart has come to.

    Args:
        images: of the training set.
        weights: what the recipe's teacher is made of.
        results: title of a network -> what it reaches.
        models: title of a network -> where it lies.
    """

    output: Path
    images: int
    settings: tuple[str, ...]
    weights: Path
    results: dict[str, RunResult] = field(default_factory=dict)
    models: dict[str, Path] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Folder of the training and verification images."""
        return self.output / "data"


def quickstart(output: Path, faces: Path | None = None, seed: int = 2048, teacher: str | None = None) -> None:
    """Distil a ViT teacher into a CNN, on a small data set.

    The steps: make data; train the teacher, the CNN alone and the same CNN distilled; compare the three; export the
    distilled CNN and check the file; write a report. Drawn faces and a teacher of our own show CAKD, others the recipe `recommended`.

    Args:
        output: for everything that is written; new, empty, or of the same quickstart that did not end, which then goes on.
        faces: aligned faces, one folder per person; None draws faces.
        seed: seed of data, weights and order.
        teacher: an .onnx, a run's or a pack's folder, or a pack's name; it is measured, and not trained.

    Raises:
        CAKDError: the output folder is in use, or a step failed.
    """
    started = time.monotonic()
    own = None if teacher is None else open_teacher(teacher)
    asked = {"--data": None if faces is None else str(faces.absolute()), "--seed": seed, "--teacher": teacher}
    with going_on(output, asked) as goes_on:
        if goes_on:
            print(f"{output}: an unfinished quickstart, which goes on", flush=True)
        _make_data(output / "data", faces, seed)
        images = len(FaceRecords(output / "data"))
        work = _Work(output, images, _settings(images, seed), RunFolder(output / TEACHER.folder).model)
        distilled = DISTILLED if faces is None and own is None else replace(DISTILLED, recipe=OWN)
        if own is None:
            _train(work, TEACHER, 2)
        else:
            distilled = _take(work, own, distilled)
        _train(work, ALONE, 3)
        _train(work, distilled, 4)
        _finish(work, distilled, own is not None, started)


def _make_data(data: Path, faces: Path | None, seed: int) -> None:
    """Write train.rec, train.idx, property and dev.bin; what is there already stays."""
    if faces is None:
        print("[1/6] drawing faces", flush=True)
    else:
        print(f"[1/6] packing {faces}", flush=True)
    if data.exists():
        return
    if faces is None:
        with progress_bar("faces") as progress:
            write_face_set(data, seed=seed, progress=progress)
    else:
        split_faces(faces, data, DEV, seed)


def _settings(images: int, seed: int) -> tuple[str, ...]:
    """Return the settings of each training: at least so many epochs that it has enough steps, and no batch that nothing fills."""
    own = settings_of(seed, [DEV], _epochs(images))
    return own if images >= BATCH else (*own, f"batch_size={images}")


def _epochs(images: int) -> int:
    return max(EPOCHS, -(-STEPS // max(images // BATCH, 1)))


def _take(work: _Work, teacher: Entry, distilled: Stage) -> Stage:
    """Measure the user's teacher; return the training under it.

    A slow teacher answers for each training image and its mirror image once.
    """
    print(f"\n[2/6] measuring the teacher ({teacher.path})", flush=True)
    found = measure_teacher(teacher, load_bin(work.data / f"{DEV}.bin"), DEV)
    work.results[TEACHER.title], work.models[TEACHER.title] = found.result, teacher.path
    work.weights = teacher.path
    work.settings = (*work.settings, f"embedding_size={found.width}")
    if found.seconds * work.images * _epochs(work.images) <= LIVE_SECONDS:
        return distilled
    cache = work.output / "cache"
    print(
        f"the teacher takes {1000 * found.seconds:.0f} ms for an image: it answers each image once, before", flush=True
    )
    if not cache.exists():
        with progress_bar("cache") as progress:
            cache_teacher(OWN, work.data, cache, given(teacher=str(teacher.path)), progress)
    work.weights = cache
    return replace(distilled, recipe=CACHED)


def _train(work: _Work, stage: Stage, number: int) -> None:
    """Train one of the networks, or go on with it."""
    print(f"\n[{number}/6] training the {stage.title} ({stage.config})", flush=True)
    taught = given(teacher=str(work.weights)) if stage.recipe else ()
    work.models[stage.title] = folder = work.output / stage.folder
    job = Job(stage.config, stage.recipe, taught, work.settings, work.data, folder, auto_resume=True)
    work.results[stage.title] = train(job)


def _finish(work: _Work, distilled: Stage, own_teacher: bool, started: float) -> None:
    """Export the distilled student, compare the three networks, and report."""
    print("\n[5/6] exporting the distilled student to ONNX", flush=True)
    exported = export_run(work.output / distilled.folder, work.output / "student.onnx", get_model)
    print(exported.summary())
    print("\n[6/6] writing the report", flush=True)
    compared = _compare(work.models, work.data)
    teacher, alone, taught = (work.results[one.title].accuracy[DEV] for one in (TEACHER, ALONE, distilled))
    said = verdict(
        Reached(teacher, alone, taught, compared.pairs, compared.differences[distilled.title].paired.p, own_teacher)
    )
    method = _method(distilled, work.output)
    report = report_of(work.models, work.results, exported.summary(), compared, method, said)
    weights = RunFolder(work.output / distilled.folder).model
    finish(
        work.output, report, f"{work.output / 'student.onnx'} (weights: {weights})", started, compared.sentences, said
    )


def report_of(
    models: Mapping[str, Path],
    results: Mapping[str, RunResult],
    exported: str,
    compared: RunComparison,
    method: Sequence[Section],
    verdict: str,
) -> Report:
    """Return the report of the three models.

    Args:
        models: title -> output folder, or a teacher's file.
        results: title -> what was measured.
        exported: what was exported.
        compared: the three on the same pairs.
        method: sections on the method.
        verdict: what the teacher was worth.
    """
    return Report(
        title="insightface_cakd quickstart",
        verdict=verdict,
        rows=_rows(results, compared),
        runs={title: folder for title, folder in models.items() if (folder / RUN).is_file()},
        notes=[exported],
        sections=[*compared.sections, *method],
    )


def _compare(models: Mapping[str, Path], data: Path) -> RunComparison:
    """Compare the three models on the same pairs.

    The result has confidence intervals, a paired test, curves, cost, and the teacher's gallery with the student's probes.
    """
    ordered = {title: models[title] for title in (ALONE.title, DISTILLED.title, TEACHER.title)}
    return compare_runs(ordered, data / f"{DEV}.bin", choose_device(None), get_model, (TEACHER.title, DISTILLED.title))


def _method(stage: Stage, output: Path) -> list[Section]:
    """Return the report's sections on the method of a distilled run.

    They show receptive fields and prompts; other recipes have none.
    """
    if not wants_snapshots(load_recipe(str(stage.recipe))):
        return []
    return method_sections(open_run(output / stage.folder, choose_device(None)))


def _rows(results: Mapping[str, RunResult], compared: RunComparison) -> list[Row]:
    """Return the table: accuracy of the three models, and distillation's gain."""
    rows: list[Row] = [
        {
            "model": title,
            "accuracy": f"{100 * results[title].accuracy[DEV]:.2f} %",
            "seconds": f"{results[title].seconds:.0f}",
        }
        for title in (TEACHER.title, ALONE.title, DISTILLED.title)
    ]
    gain = compared.differences[DISTILLED.title].gain
    return [*rows, {"model": "difference", "accuracy": f"{100 * gain:+.2f} points", "seconds": ""}]
