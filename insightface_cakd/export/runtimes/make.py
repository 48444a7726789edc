"""Conversion of an ONNX student to a folder for another runtime."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import ExportError
from insightface_cakd.evaluate.pairs.sets import load_sets
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.export.card import CARD, write_card
from insightface_cakd.export.check import COSINE, check_contract, lowest_cosine, noise
from insightface_cakd.export.failures import refusing
from insightface_cakd.export.runtimes.ncnn import NCNN
from insightface_cakd.export.runtimes.openvino import OPENVINO
from insightface_cakd.export.runtimes.runtime import EmbedOne, Runtime
from insightface_cakd.export.student import CONTRACT
from insightface_cakd.networks.latency import ROUNDS, SpeedUp, measure_speed_up, onnx_embedder
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.onnx import model_sha256
from insightface_cakd.networks.weights import file_sha256
from insightface_cakd.runtime.atomic import require_new, write_json, writing

RUNTIMES = {runtime.name: runtime for runtime in (NCNN, OPENVINO)}
MANIFEST = "manifest.json"
# Number of noise images on which the two runtimes are compared.
IMAGES = 8


@dataclass(frozen=True)
class RuntimeReport:
    """Measurements of a converted student.

    Args:
        size: total size of the files in bytes.
        largest_difference: largest absolute difference between two components.
        before: time for one face of the ONNX file on onnxruntime.
        accuracies: verification set -> accuracy of the ONNX file and accuracy on the runtime.
    """

    path: Path
    runtime: str
    size: int
    cosine: float
    largest_difference: float
    latency: SpeedUp
    before: SpeedUp
    accuracies: dict[str, tuple[float, float]]

    def summary(self) -> str:
        """Return one line of text, and one more per verification set."""
        lines = [
            f"{self.path}: {self.size / 1e6:.2f} MB for {self.runtime}; cosine with onnxruntime >= {self.cosine:.6f}, largest "
            f"difference {self.largest_difference:.1e}; {self.latency.milliseconds:.2f} ms a face, onnxruntime "
            f"{self.before.milliseconds:.2f} ms ({self.latency.speed_up:.2f} x)"
        ]
        lines += [
            f"{name}: {100 * after:.2f} %, on onnxruntime {100 * before:.2f} %"
            for name, (before, after) in self.accuracies.items()
        ]
        return "\n".join(lines)


def export_runtime(
    student: Path, runtime: Runtime, out: Path, bins: Sequence[Path] = (), threads: int = 1, rounds: int = ROUNDS
) -> RuntimeReport:
    """Convert a student, and compare it with its ONNX file.

    The folder is put in place only after the comparison. It contains the runtime's files, named after the student, a
    model card, and `manifest.json`: names of input and output, the input contract, sha256 of the files, and the student's provenance.
    """
    where = f"export-runtime {runtime.name} {student.name}"
    _require_installed(runtime)
    if not student.is_file():
        problem = "is a folder" if student.is_dir() else "does not exist"
        raise ExportError(f"{student}: {problem}; expected an .onnx file, as `cakd export` writes. Correct the path.")
    require_new(out, ExportError)
    check_contract(student, where)
    sets = load_sets(bins)
    with writing(out, ExportError) as temporary:
        temporary.mkdir()
        with refusing(
            f"{where}: cannot be converted", f"operators that {runtime.name} has. Ship the ONNX file.", RuntimeError
        ):
            runtime.convert(student, temporary, student.stem)
            embed = runtime.load(temporary, student.stem, threads)
        report = _compare(student, embed, sets, threads, rounds, where)
        _write_manifest(student, runtime, temporary)
        write_card(student, temporary / CARD, student.stem)
        size = sum(file.stat().st_size for file in _files(student, runtime, temporary))
    return replace(report, path=out, runtime=_versions(runtime), size=size)


def _require_installed(runtime: Runtime) -> None:
    missing = [package for package in runtime.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ExportError(
            f"export-runtime {runtime.name}: {', '.join(missing)} not installed; expected {' and '.join(runtime.packages)}. "
            f"pip install 'insightface-cakd[{runtime.name}]'."
        )


def _compare(
    student: Path, embed: EmbedOne, sets: dict[str, VerificationSet], threads: int, rounds: int, where: str
) -> RuntimeReport:
    own = onnx_embedder(student, threads)
    images = noise(IMAGES).numpy()
    try:
        found, expected = (_each(one, images) for one in (embed, own))
    except RuntimeError as error:
        raise ExportError(f"{where}: {error}; expected an embedding. Ship the ONNX file.") from error
    cosine = lowest_cosine(found, expected, where, "onnxruntime", COSINE, "Ship the ONNX file.")
    before, latency = measure_speed_up([own, embed], rounds)
    accuracies = {
        name: (verify(_as_embed(own), one).accuracy, verify(_as_embed(embed), one).accuracy)
        for name, one in sets.items()
    }
    return RuntimeReport(student, "", 0, cosine, float(np.abs(found - expected).max()), latency, before, accuracies)


def _each(embed: EmbedOne, images: np.ndarray) -> np.ndarray:
    return np.concatenate([embed(images[i : i + 1]) for i in range(len(images))])


def _as_embed(embed: EmbedOne) -> Embed:
    return lambda images: torch.from_numpy(_each(embed, images.numpy()))


def _files(student: Path, runtime: Runtime, folder: Path) -> list[Path]:
    return [folder / f"{student.stem}{ending}" for ending in runtime.endings]


def _versions(runtime: Runtime) -> str:
    return ", ".join(f"{package} {version(package)}" for package in runtime.packages)


def _write_manifest(student: Path, runtime: Runtime, folder: Path) -> None:
    said = onnx.load(str(student), load_external_data=False).metadata_props
    content = {
        "runtime": _versions(runtime),
        "files": {file.name: file_sha256(file) for file in _files(student, runtime, folder)},
        "input": runtime.input,
        "output": runtime.output,
        "input_contract": CONTRACT,
        "onnx_sha256": model_sha256(student),
        "provenance": {one.key: one.value for one in said},
    }
    write_json(folder / MANIFEST, content)
