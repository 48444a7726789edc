"""What an IJB run says: a table, JSON, and the curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.identification import FPIRS, RANKS, GalleryResult, Identification
from insightface_cakd.evaluate.ijb.presets import FARS, Preset
from insightface_cakd.evaluate.ijb.roc import Roc
from insightface_cakd.evaluate.ijb.run import Measured
from insightface_cakd.runtime.atomic import replacing, write_json

NONE = "-"
MARK = "*"


@dataclass(frozen=True)
class Subject:
    """What was measured.

    Args:
        name: of the model, as tables show it.
        target: IJBB or IJBC.
        preset: the conventions.
        pixels: input scale of the embeddings, None where it is not known.
        corrupt: name of the image -> what is wrong with it; left out of its template.
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


def markdown(subject: Subject, found: Sequence[Measured]) -> str:
    """Return the report as Markdown: upstream's reading, and beside it the strict one, which claims nothing unsupported."""
    preset = subject.preset
    lines = [f"# {subject.target}: {subject.name}", "", f"Conventions of {preset.name}: input {subject.input}."]
    lines += [f"{one.mode.letters}: {one.mode.meaning}." for one in found]
    if subject.corrupt:
        lines.append(left_out(subject.corrupt))
    if found[0].roc is not None:
        lines += ["", *_verification(subject, found)]
    for one in found:
        if one.identification is not None:
            lines += ["", *_identification(one.mode.letters, one.identification)]
    return "\n".join(lines) + "\n"


def left_out(corrupt: dict[str, str]) -> str:
    """Return a sentence about corrupt images, the first five by name."""
    return f"{len(corrupt)} corrupt images were left out: {', '.join(list(corrupt)[:5])}."


def content(subject: Subject, found: Sequence[Measured]) -> dict[str, Any]:
    """Return the report for JSON; a number that the data cannot support is null in the strict reading."""
    return {
        "target": subject.target,
        "model": subject.name,
        "preset": subject.preset.name,
        "input": subject.pixels,
        "corrupt": subject.corrupt,
        "modes": [_mode_content(one) for one in found],
    }


def save(folder: Path, subject: Subject, found: Sequence[Measured]) -> None:
    """Write `report.md`, `report.json`, and of 1:1 `scores_<mode>.npy`, `roc_<mode>.npz` and `roc.png`.

    Raises:
        EvaluationError: the folder cannot be written.
    """
    try:
        with replacing(folder / "report.md") as temporary:
            temporary.write_text(markdown(subject, found), encoding="utf-8")
        write_json(folder / "report.json", content(subject, found))
        for one in found:
            if one.roc is not None and one.scores is not None:
                _save_arrays(folder, one.mode.letters, one.scores, one.roc)
        if found[0].roc is not None:
            with replacing(folder / "roc.png") as temporary:
                _draw(subject, found).savefig(temporary, format="png", dpi=120)
    except OSError as error:
        raise EvaluationError(f"{folder}: cannot be written ({error.strerror}). Choose another --output.") from error


def _verification(subject: Subject, found: Sequence[Measured]) -> list[str]:
    header = ["1:1, TAR at FAR", *(f"{far:g}" for far in FARS), "AUC"]
    rows, marked = [], False
    for one in found:
        if one.roc is None:
            continue
        name = f"{subject.name}_{subject.target}_11_{one.mode.letters}"
        nearest = []
        for far in FARS:
            supported = one.roc.supports(far)
            marked |= not supported
            nearest.append(_share(one.roc.tar_nearest(far), subject.preset) + ("" if supported else MARK))
        strict = [_share(one.roc.tar_strict(far), subject.preset) for far in FARS]
        rows += [[name, *nearest, f"{one.roc.auc:.6g}"], [f"{name}, strict", *strict, ""]]
    lines = [*table(header, rows), "", _sizes(found[0])]
    if marked and found[0].roc is not None:
        count = len(found[0].roc.impostors)
        lines.append(
            f"{MARK} {count} different pairs support no FAR below {1 / count:.2g}: this is what {subject.preset.name} "
            "prints, the rate that its threshold really has is another. The strict reading gives no number."
        )
    return lines


def _sizes(one: Measured) -> str:
    if one.roc is None:
        return ""
    return (
        f"{len(one.roc.genuine)} same and {len(one.roc.impostors)} different pairs. Without a word: TAR at the nearest "
        "false accept rate, which may lie above the one asked for; strict: never above it."
    )


def _identification(letters: str, found: Identification) -> list[str]:
    first, second = found.galleries
    header = [f"1:N {letters}", *(f"rank-{rank}" for rank in RANKS), "probes with mate", "without", "subjects"]
    rows = [_gallery_row(f"gallery {number}", gallery) for number, gallery in enumerate(found.galleries, 1)]
    rows.append(["mean", *(f"{found.mean_rank(rank):.6f}" for rank in RANKS), f"{found.probes} probes", "", ""])
    lines = [*table(header, rows), ""]
    header = ["FPIR", "g1_tpir", "g1_thresh", "g2_tpir", "g2_thresh", "mean_tpir", "mean_tpir, strict"]
    rows, marked = [], False
    for fpir in FPIRS:
        supported = first.supports(fpir) and second.supports(fpir)
        marked |= not supported
        mark = "" if supported else MARK
        values = [
            first.tpir(fpir),
            first.threshold(fpir),
            second.tpir(fpir),
            second.threshold(fpir),
            found.mean_tpir(fpir),
        ]
        shown = [NONE if value is None else f"{value:.6g}{mark}" for value in values]
        strict = found.mean_tpir(fpir, strict=True)
        rows.append([f"{fpir:g}", *shown, NONE if strict is None else f"{strict:.6g}"])
    lines += table(header, rows)
    if marked:
        lines += ["", _unsupported(first, second)]
    return lines


def _unsupported(first: GalleryResult, second: GalleryResult) -> str:
    counts = f"{len(first.strangers)} and {len(second.strangers)}"
    if not len(first.strangers) or not len(second.strangers):
        return f"No TPIR: {counts} probes are without a mate in the galleries; a false alarm rate needs some."
    return (
        f"{MARK} {counts} probes without a mate support no FPIR below {1 / min(len(first.strangers), len(second.strangers)):.2g}: "
        "this is upstream's number at the highest false alarm. The strict reading gives none."
    )


def _gallery_row(name: str, gallery: GalleryResult) -> list[str]:
    ranks = [gallery.rank(rank) for rank in RANKS]
    shown = [NONE if rank is None else f"{rank:.6f}" for rank in ranks]
    return [name, *shown, str(gallery.mated), str(len(gallery.strangers)), str(gallery.size)]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table with aligned columns, the first to the left."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        return f"| {' | '.join(cells)} |"

    rule = f"|:{'-' * (widths[0] + 1)}|{'|'.join('-' * (width + 1) + ':' for width in widths[1:])}|"
    return [line(header), rule, *map(line, rows)]


def _share(value: float | None, preset: Preset) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.2f}" if preset.percent else f"{value:.6g}"


def _mode_content(one: Measured) -> dict[str, Any]:
    result: dict[str, Any] = {"mode": one.mode.letters, "meaning": one.mode.meaning}
    if one.roc is not None:
        result["verification"] = {
            "same": len(one.roc.genuine),
            "different": len(one.roc.impostors),
            "auc": one.roc.auc,
            "tar_nearest": {f"{far:g}": one.roc.tar_nearest(far) for far in FARS},
            "tar_strict": {f"{far:g}": one.roc.tar_strict(far) for far in FARS},
            "unsupported": [f"{far:g}" for far in FARS if not one.roc.supports(far)],
        }
    if one.identification is not None:
        result["identification"] = _identification_content(one.identification)
    return result


def _identification_content(found: Identification) -> dict[str, Any]:
    return {
        "probes": found.probes,
        "mean": {f"rank_{rank}": found.mean_rank(rank) for rank in RANKS},
        "galleries": [
            {
                "subjects": gallery.size,
                "mated": gallery.mated,
                "without_mate": len(gallery.strangers),
                **{f"rank_{rank}": gallery.rank(rank) for rank in RANKS},
                "tpir": {f"{fpir:g}": gallery.tpir(fpir) for fpir in FPIRS},
                "tpir_strict": {f"{fpir:g}": gallery.tpir_strict(fpir) for fpir in FPIRS},
            }
            for gallery in found.galleries
        ],
    }


def _save_arrays(folder: Path, letters: str, scores: np.ndarray, roc: Roc) -> None:
    with replacing(folder / f"scores_{letters}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, scores)
    with replacing(folder / f"roc_{letters}.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, fpr=roc.fpr, tpr=roc.tpr)


def _draw(subject: Subject, found: Sequence[Measured]) -> Figure:
    """Return the curves; the axis begins where the pairs still tell something."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for one in found:
        if one.roc is not None:
            axes.plot(one.roc.fpr, one.roc.tpr, linewidth=1.2, label=f"{one.mode.letters} (AUC {one.roc.auc:.4f})")
    impostors = max(len(one.roc.impostors) for one in found if one.roc is not None)
    axes.set(xscale="log", xlim=(max(FARS[0], 1 / impostors), 1), ylim=(0, 1), xlabel="FAR", ylabel="TAR")
    axes.set_title(f"{subject.name} on {subject.target}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    return figure
