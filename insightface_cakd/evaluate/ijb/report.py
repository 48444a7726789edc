"""The result of an IJB run, and the files of its folder."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.identification import FPIRS, RANKS, GalleryResult, Identification
from insightface_cakd.evaluate.ijb.measure import Measured
from insightface_cakd.evaluate.ijb.presets import FARS, Preset
from insightface_cakd.evaluate.ijb.roc import Roc
from insightface_cakd.evaluate.ijb.roc_plot import roc_drawings, roc_figure
from insightface_cakd.report.colours import Colours
from insightface_cakd.report.result import Section, SectionedResult
from insightface_cakd.report.tables import Row
from insightface_cakd.runtime.atomic import put, work_folder, write_json
from insightface_cakd.runtime.folder_lock import unwritable
from insightface_cakd.runtime.leftovers import clear_leftovers, temporary_name
from insightface_cakd.runtime.made_folders import made_folders

NONE = "-"
MARK = "*"
# Verdicts give TAR at this rate, or at the lowest one above it that the pairs support.
CLOSING_FAR = 1e-4


@dataclass(frozen=True)
class Subject:
    """What was measured.

    Args:
        pixels: input scale of the embeddings, None where it is not known.
        corrupt: name of the image -> what is wrong with it; such images are left out of their templates.
    """

    name: str
    target: str
    preset: Preset
    pixels: str | None
    corrupt: dict[str, str]

    @property
    def input(self) -> str:
        """Return the input scale in words."""
        known = self.pixels or "unknown"
        return known if known == self.preset.pixels else f"{known} (as saved)"


def closing_far(supported: Collection[float]) -> float | None:
    """Return the FAR of a verdict: `CLOSING_FAR`, or the lowest supported above."""
    return next((far for far in FARS if far >= CLOSING_FAR * (1 - 1e-9) and far in supported), None)


@dataclass(frozen=True, eq=False)
class IjbResult(SectionedResult):
    """The result of an IJB run, as upstream reads it and strictly."""

    subject: Subject
    modes: Sequence[Measured]

    @property
    def verdict(self) -> str:
        """TAR, read strictly, and rank-1 in the first mode."""
        first, said = self.modes[0], []
        if first.roc is not None:
            tars = {far: tar for far in FARS if (tar := first.roc.tar_strict(far)) is not None}
            far = closing_far(tars)
            said += [] if far is None else [f"TAR {100 * tars[far]:.2f} % at FAR {far:g}"]
        if first.identification is not None:
            said.append(f"rank-{RANKS[0]} {100 * first.identification.mean_rank(RANKS[0]):.2f} %")
        return f"{self.subject.name} on {self.subject.target}, {first.mode.letters}: {', '.join(said) or 'no number is supported'}."

    def facts(self) -> dict[str, Any]:
        """Return the numbers; strict ones without support are null."""
        return {
            "target": self.subject.target,
            "model": self.subject.name,
            "preset": self.subject.preset.name,
            "input": self.subject.pixels,
            "corrupt": self.subject.corrupt,
            "modes": [_mode_facts(one) for one in self.modes],
        }

    def sections(self) -> list[Section]:
        """Return conventions, a table of 1:1, two of 1:N per mode."""
        notes = [f"Conventions of {self.subject.preset.name}: input {self.subject.input}."]
        notes += [f"{one.mode.letters}: {one.mode.meaning}." for one in self.modes]
        notes += [left_out(self.subject.corrupt)] if self.subject.corrupt else []
        found = [Section("Conventions", notes=notes)]
        if self.modes[0].roc is not None:
            found.append(_verification(self.subject, self.modes))
        for one in self.modes:
            if one.identification is not None:
                found += _identification(one.mode.letters, one.identification)
        return found

    def text(self) -> str:
        """Return the report as Markdown."""
        return f"# {self.subject.target}: {self.subject.name}\n\n{super().text()}"


def left_out(corrupt: dict[str, str]) -> str:
    """Return a sentence on corrupt images, with the first five names."""
    return f"{len(corrupt)} corrupt images were left out: {', '.join(list(corrupt)[:5])}."


def save(folder: Path, result: IjbResult) -> None:
    """Write the report, and `scores_<mode>.npy`, `roc_<mode>.npz` and `roc.png` of 1:1.

    They replace all files of an earlier report, those of other modes included.
    """
    with _replacing(folder) as scratch:
        (scratch / "report.md").write_text(result.text(), encoding="utf-8")
        write_json(scratch / "report.json", result.facts(), EvaluationError)
        for one in result.modes:
            if one.roc is not None and one.scores is not None:
                np.save(scratch / f"scores_{one.mode.letters}.npy", one.scores)
                np.savez(scratch / f"roc_{one.mode.letters}.npz", fpr=one.roc.fpr, tpr=one.roc.tpr)
        if result.modes[0].roc is not None:
            figure = roc_figure(result.subject.name, _curves(result.modes), Colours())
            figure.savefig(scratch / "roc.png", format="png", dpi=160)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a folder whose files take the place of an earlier report's in the end."""
    try:
        clear_leftovers(folder, "report")
        with made_folders(folder), work_folder(folder / temporary_name("report")) as scratch:
            yield scratch
            for pattern in ("report.*", "roc.png", "scores_*.npy", "roc_*.npz"):
                for old in folder.glob(pattern):
                    old.unlink()
            for new in scratch.iterdir():
                put(new, folder / new.name)
    except OSError as error:
        raise EvaluationError(f"{folder}: {unwritable(error)}") from error


def _verification(subject: Subject, found: Sequence[Measured]) -> Section:
    rows: list[Row] = []
    curves = _curves(found)
    for letters, roc in curves.items():
        name = f"{subject.name}_{subject.target}_11_{letters}"
        head, nearest, strict = "1:1, TAR at FAR", {}, {}
        for far in FARS:
            kept = roc.tar_strict(far)
            nearest[f"{far:g}"] = _share(roc.tar_nearest(far), subject.preset) + (MARK if kept is None else "")
            strict[f"{far:g}"] = _share(kept, subject.preset)
        rows += [{head: name} | nearest | {"AUC": f"{roc.auc:.6g}"}, {head: f"{name}, strict"} | strict]
    # All modes have the same pairs.
    same, different = len(roc.genuine), len(roc.impostors)
    notes = [
        f"{same} same and {different} different pairs. Without a word: TAR at the nearest "
        "false accept rate, which may lie above the one asked for; strict: never above it."
    ]
    if NONE in strict.values():
        notes.append(
            f"{MARK} {different} different pairs support no FAR below {1 / different:.2g}: this is what {subject.preset.name} "
            "prints, the rate that its threshold really has is another. The strict reading gives no number."
        )
    return Section("1:1", rows, notes=notes, drawings=roc_drawings(subject.name, curves))


def _curves(found: Sequence[Measured]) -> dict[str, Roc]:
    return {one.mode.letters: one.roc for one in found if one.roc is not None}


def _identification(letters: str, found: Identification) -> list[Section]:
    first, second = found.galleries
    head = f"1:N {letters}"
    rows = [_gallery_row(head, f"gallery {number}", gallery) for number, gallery in enumerate(found.galleries, 1)]
    mean = {f"rank-{rank}": f"{found.mean_rank(rank):.6f}" for rank in RANKS}
    rows.append({head: "mean"} | mean | {"probes with mate": f"{found.probes} probes"})
    tpirs: list[Row] = []
    marked = ""
    for fpir in FPIRS:
        mark = "" if first.allowed(fpir) and second.allowed(fpir) else MARK
        marked = marked or mark
        read = {
            "g1_tpir": first.tpir(fpir),
            "g1_thresh": first.threshold(fpir),
            "g2_tpir": second.tpir(fpir),
            "g2_thresh": second.threshold(fpir),
            "mean_tpir": found.mean_tpir(fpir),
        }
        shown = {key: NONE if value is None else f"{value:.6g}{mark}" for key, value in read.items()}
        strict = found.mean_tpir(fpir, strict=True)
        tpirs.append({"FPIR": f"{fpir:g}"} | shown | {"mean_tpir, strict": NONE if strict is None else f"{strict:.6g}"})
    notes = [_unsupported(first, second)] if marked else []
    return [Section(head, rows), Section(f"{head}, TPIR at FPIR", tpirs, notes=notes)]


def _unsupported(first: GalleryResult, second: GalleryResult) -> str:
    counts = f"{len(first.strangers)} and {len(second.strangers)}"
    if not len(first.strangers) or not len(second.strangers):
        return f"No TPIR: {counts} probes are without a mate in the galleries; a false alarm rate needs some."
    return (
        f"{MARK} {counts} probes without a mate support no FPIR below {1 / min(len(first.strangers), len(second.strangers)):.2g}: "
        "this is upstream's number at the highest false alarm. The strict reading gives none."
    )


def _gallery_row(head: str, name: str, gallery: GalleryResult) -> Row:
    ranks = {rank: gallery.rank(rank) for rank in RANKS}
    row = {head: name} | {f"rank-{rank}": NONE if share is None else f"{share:.6f}" for rank, share in ranks.items()}
    counts = {"probes with mate": gallery.mated, "without": len(gallery.strangers), "subjects": gallery.size}
    return row | {key: str(count) for key, count in counts.items()}


def _share(value: float | None, preset: Preset) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.2f}" if preset.percent else f"{value:.6g}"


def _mode_facts(one: Measured) -> dict[str, Any]:
    result: dict[str, Any] = {"mode": one.mode.letters, "meaning": one.mode.meaning}
    if one.roc is not None:
        result["verification"] = {
            "same": len(one.roc.genuine),
            "different": len(one.roc.impostors),
            "auc": one.roc.auc,
            "tar_nearest": {f"{far:g}": one.roc.tar_nearest(far) for far in FARS},
            "tar_strict": {f"{far:g}": one.roc.tar_strict(far) for far in FARS},
            "unsupported": [f"{far:g}" for far in FARS if one.roc.tar_strict(far) is None],
        }
    if one.identification is not None:
        result["identification"] = {
            "probes": one.identification.probes,
            "mean": {f"rank_{rank}": one.identification.mean_rank(rank) for rank in RANKS},
            "galleries": [
                {
                    "subjects": gallery.size,
                    "mated": gallery.mated,
                    "without_mate": len(gallery.strangers),
                    **{f"rank_{rank}": gallery.rank(rank) for rank in RANKS},
                    "tpir": {f"{fpir:g}": gallery.tpir(fpir) for fpir in FPIRS},
                    "tpir_strict": {f"{fpir:g}": gallery.tpir_strict(fpir) for fpir in FPIRS},
                }
                for gallery in one.identification.galleries
            ],
        }
    return result
