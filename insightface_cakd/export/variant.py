"""Export in a chosen precision, with the loss and gain against float32."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import ExportError
from insightface_cakd.evaluate.pairs.sets import load_sets
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.export.calibration import as_input, calibration_faces
from insightface_cakd.export.check import ExportReport, check_against, check_contract, noise
from insightface_cakd.export.onnx import Exporter
from insightface_cakd.export.precision import Precision, halve, precision_of, quantise
from insightface_cakd.export.student import export_run
from insightface_cakd.networks.latency import ROUNDS, SpeedUp, measure_speed_up, onnx_embedder
from insightface_cakd.networks.models import GetModel
from insightface_cakd.networks.onnx import OnnxNetwork
from insightface_cakd.networks.onnx_graph import BATCH_NORM, count_nodes, spread_prelu
from insightface_cakd.report.tables import plain_table
from insightface_cakd.runtime.atomic import work_folder, writing

# Lowest accepted cosine with the float32 embedding: float16 rounds, int8 turns an embedding by some degrees.
_FLOORS = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.5}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """A file and its measurements.

    Args:
        name: what the file is, such as "fp32, fast PReLU".
        size: size in bytes.
        batch_norms: number of batch-norm nodes left; one after a convolution or linear layer is folded into it.
        cosine: mean cosine with the embeddings of the first file; None without faces to compare on.
        accuracies: accuracy on each verification set, in [0, 1].
    """

    name: str
    path: Path
    size: int
    batch_norms: int
    cosine: float | None = None
    accuracies: tuple[float, ...] = ()
    latency: SpeedUp | None = None


@dataclass(frozen=True)
class Wish:
    """Settings of an export.

    Args:
        fast_prelu: write PReLU as product and maximum, see `spread_prelu`; int8 always does.
        calibrate: calibration faces for int8, see `calibration_faces`.
        bins: verification sets on which the loss of accuracy is measured.
        width: of the prefix of the embedding that is exported; all of it when not given.
    """

    precision: Precision = "fp32"
    exporter: Exporter = "legacy"
    fast_prelu: bool = False
    calibrate: Path | None = None
    bins: Sequence[Path] = ()
    threads: int = 1
    rounds: int = ROUNDS
    width: int | None = None


def export_variant(
    source: Path, out: Path, get_model: GetModel, network: str | None, wish: Wish
) -> tuple[ExportReport, list[Variant]]:
    """Write an ONNX file in a chosen precision, checked and measured.

    The source is the output folder of a run, .pt weights, or a float32 .onnx file; `out` is replaced only by a file
    that passed the checks. Every file on the way is measured, first the plain float32 one.
    """
    _require_fitting(source, out, network, wish)
    sets = list(load_sets(wish.bins).values())
    faces = _faces(wish, sets)
    with (
        writing(out, ExportError, f"export {out}") as checked,
        work_folder(checked) as folder,
    ):
        place = partial(_place, folder, out.name)
        fp32 = place("fp32")
        report = _float32(source, fp32, get_model, network, wish)
        files = _convert(fp32, wish, faces, place)
        wanted = list(files.values())[-1]
        if report is None or wanted != fp32:
            report = _check(wanted, fp32, wish, faces, out.name)
        variants = _measure(files, wish, sets, faces)
        os.replace(wanted, checked)
    return replace(report, path=out), variants


def _require_fitting(source: Path, out: Path, network: str | None, wish: Wish) -> None:
    """Refuse an output that is no .onnx file, and options without effect."""
    if out.suffix != ".onnx":
        raise ExportError(
            f"export {out}: expected a name that ends in .onnx; InsightFace takes others for model packs. Rename it."
        )
    given = [f"--network {network}"] if network else []
    given += [f"--width {wish.width}"] if wish.width is not None else []
    given += [f"--exporter {wish.exporter}"] if wish.exporter != "legacy" else []
    if source.suffix.lower() == ".onnx" and given:
        raise ExportError(
            f"export {source}: {' and '.join(given)} with an .onnx, which is exported already; expected a run or weights. Leave it out."
        )


def _faces(wish: Wish, sets: Sequence[VerificationSet]) -> np.ndarray | None:
    """Return the images (N, 3, 112, 112) for calibration and comparison.

    Without calibration faces: up to 64 images of the first verification set; None without a set.
    """
    if wish.calibrate is not None:
        return as_input(calibration_faces(wish.calibrate))
    if wish.precision == "int8":
        raise ExportError(
            "export: --precision int8 needs faces to measure the ranges of its activations; expected --calibrate with a "
            "folder of train.rec, a folder of people or a .bin. Take training faces, not those it is judged by."
        )
    return as_input(sets[0].images[:64]) if sets else None


def _float32(source: Path, fp32: Path, get_model: GetModel, network: str | None, wish: Wish) -> ExportReport | None:
    """Export a run or weights, or copy a float32 .onnx file.

    Returns the result of the check against torch; None for a copy.
    """
    if source.suffix.lower() != ".onnx":
        return export_run(source, fp32, get_model, network, wish.exporter, wish.width)
    if not source.is_file():
        raise ExportError(f"{source}: does not exist; expected a float32 .onnx. Correct the path.")
    check_contract(source, f"export {source.name}")
    precision = precision_of(onnx.load(str(source)))
    if precision != "fp32":
        raise ExportError(
            f"export {source}: is {precision} already; expected a float32 .onnx. Give the one that it was made from, or the run."
        )
    shutil.copyfile(source, fp32)
    return None


def _convert(fp32: Path, wish: Wish, faces: np.ndarray | None, place: Callable[[str], Path]) -> dict[str, Path]:
    """Write the requested variants; return all files, the wanted one last."""
    files, latest = {"fp32": fp32}, fp32
    if wish.fast_prelu or wish.precision == "int8":
        model = onnx.load(str(fp32))
        if spread_prelu(model):
            files["fp32, fast PReLU"] = latest = place("fast")
            onnx.save(model, str(latest))
    if wish.precision == "fp16":
        files["fp16"] = place("fp16")
        halve(latest, files["fp16"])
    elif wish.precision == "int8" and faces is not None:
        files["int8"] = place("int8")
        quantise(latest, files["int8"], faces)
    return files


def _place(folder: Path, name: str, kind: str) -> Path:
    (folder / kind).mkdir()
    return folder / kind / name


def _check(wanted: Path, fp32: Path, wish: Wish, faces: np.ndarray | None, name: str) -> ExportReport:
    """Check the wanted file against float32, on faces if there are any."""
    network = OnnxNetwork(fp32, CPU, 112, f"export {name}")

    def draw(batch: int) -> torch.Tensor:
        if faces is None:
            return noise(batch)
        return torch.from_numpy(np.resize(faces, (batch, *faces.shape[1:])))

    return check_against(wanted, network, "float32", _FLOORS[wish.precision], draw)


def _measure(
    files: dict[str, Path], wish: Wish, sets: Sequence[VerificationSet], faces: np.ndarray | None
) -> list[Variant]:
    latencies = measure_speed_up([onnx_embedder(path, wish.threads) for path in files.values()], wish.rounds)
    variants, expected = [], None
    for (name, path), latency in zip(files.items(), latencies, strict=True):
        network = OnnxNetwork(path, CPU, 112, f"export {name}")
        cosine = None
        if faces is not None:
            rows = torch.nn.functional.normalize(network(torch.from_numpy(faces[:64])).double())
            expected = rows if expected is None else expected
            cosine = float((rows * expected).sum(1).mean())
        accuracies = tuple(verify(network, one).accuracy for one in sets)
        norms = count_nodes(onnx.load(str(path), load_external_data=False))[BATCH_NORM]
        variants.append(Variant(name, path, path.stat().st_size, norms, cosine, accuracies, latency))
    return variants


def table(variants: Sequence[Variant], bins: Sequence[Path], threads: int) -> str:
    """Return one line per file, with the differences to the first."""
    timing = f"ms ({threads} thread{'s'[: threads > 1]})"
    return plain_table([_cells(one, variants[0], [path.stem for path in bins], timing) for one in variants])


def _cells(one: Variant, first: Variant, sets: Sequence[str], timing: str) -> dict[str, str]:
    cells = {"": one.name, "MB": f"{one.size / 1e6:.2f}", "batch norms": str(one.batch_norms)}
    cells["cosine"] = f"{one.cosine:.4f}" if one.cosine is not None else "-"
    for name, accuracy, before in zip(sets, one.accuracies, first.accuracies, strict=True):
        change = f" ({round(100 * (accuracy - before), 2) + 0.0:+.2f})" if one is not first else ""
        cells[name] = f"{100 * accuracy:.2f} %{change}"
    if one.latency is None:
        return cells | {timing: "", "faster": ""}
    return cells | {timing: f"{one.latency.milliseconds:.2f}", "faster": f"{one.latency.speed_up:.2f} x"}
