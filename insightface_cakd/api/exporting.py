"""Exports a model to ONNX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.api.recogniser import Recogniser, place_of
from insightface_cakd.errors import ExportError
from insightface_cakd.evaluate.pairs.sets import find_sets
from insightface_cakd.export.card import LANDMARKS, RECOGNISER, card_beside, write_card
from insightface_cakd.export.check import ExportReport
from insightface_cakd.export.landmark_run import export_landmark_run, finds_landmarks
from insightface_cakd.export.landmarks import LandmarkReport
from insightface_cakd.export.onnx import Exporter
from insightface_cakd.export.precision import Precision
from insightface_cakd.export.variant import Variant, Wish, export_variant, table
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Exported:
    """A written file, how it was checked, and what each step cost.

    Args:
        report: of the check.
        variants: the float32 file and those that became of it; none for landmarks.
        wish: what was asked for; None for landmarks.
    """

    report: ExportReport | LandmarkReport
    variants: Sequence[Variant] = ()
    wish: Wish | None = None

    @property
    def path(self) -> Path:
        """The written file."""
        return self.report.path

    @property
    def card(self) -> Path:
        """The model card beside it."""
        return card_beside(self.path)

    @property
    def measured(self) -> str:
        """A line per file with size, accuracy and time; nothing for landmarks."""
        return "" if self.wish is None else table(self.variants, self.wish.bins, self.wish.threads)

    def __str__(self) -> str:
        return "\n\n".join(part for part in (self.report.summary(), self.measured, f"card: {self.card}") if part)


def export(
    model: str | Path | RunFolder | Recogniser,
    path: str | Path,
    *,
    network: str | None = None,
    precision: Precision = "fp32",
    exporter: Exporter = "legacy",
    calibrate: str | Path | None = None,
    sets: Sequence[str | Path] = (),
    fast_prelu: bool = False,
    threads: int = 1,
    width: int | None = None,
    landmarks: bool = False,
) -> Exported:
    """Export a model to ONNX as InsightFace reads it, checked.

    `cakd export` in Python.

    Args:
        model: a run's folder or what `train` returned, .pt weights with `network`, a float32 .onnx, or what `load` returned.
        path: the .onnx to write; replaced only by a file that passed the check. A model card is written beside it.
        network: name of the network of bare weights.
        precision: `fp32`, `fp16` or `int8`.
        exporter: `legacy`, opset 13, or `dynamo`, opset 18.
        calibrate: aligned faces for int8: a folder with train.rec, a folder of people, or a .bin.
        sets: verification sets, or folders of them, on which the cost of a precision is measured.
        fast_prelu: write PReLU as product and maximum; int8 always does.
        threads: of onnxruntime in the timing.
        width: export the first so many numbers of the embedding alone.
        landmarks: the weights find landmarks; a run of that task says so itself.

    Returns:
        `print` shows the check and a table; `path` is the file.

    Raises:
        ExportError: there is nothing to export, no network is named, an option has no effect, or the file does not do what the network
            does.
        EvaluationError: the weights are missing, damaged or of another network.
        RunError: the run is not finished, or its files are damaged.
    """
    source, out = Path(place_of(model)), Path(path)
    if isinstance(model, Recogniser) and model.entry.runtime == "torch":
        network = network or model.entry.network
    if landmarks or finds_landmarks(source):
        if precision != "fp32" or fast_prelu or calibrate or sets:
            raise ExportError(
                f"export {source}: --precision, --fast-prelu, --calibrate and --sets are for recognisers; expected none of them for "
                "landmarks. Leave them out."
            )
        return _with_card(Exported(export_landmark_run(source, out, get_model, network, exporter)))
    bins = list(find_sets([Path(one) for one in sets]).values())
    faces = None if calibrate is None else Path(calibrate)
    wish = Wish(precision, exporter, fast_prelu, faces, bins, threads, width=width)
    report, variants = export_variant(source, out, get_model, network, wish)
    return _with_card(Exported(report, variants, wish))


def _with_card(exported: Exported) -> Exported:
    limits = LANDMARKS if exported.wish is None else RECOGNISER
    write_card(exported.path, exported.card, exported.path.stem, exported.measured, limits)
    return exported
