"""The format check of InsightFace's Masked Face Recognition challenge, which a model had to pass to be ranked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import ExportError, did_you_mean

MEGABYTE = 1 << 20
LARGEST = 1024  # MB
FEWEST_NODES, FIRST_NODES = 8, 8
RUNS, COUNTED, BATCH = 50, 5, 32
CROP, PIXEL_NORM = "crop.txt", "pixel_norm.txt"


@dataclass(frozen=True)
class Track:
    """Limits of a track of the challenge.

    Args:
        width: largest embedding.
        milliseconds: longest time for a face, on the challenge's GPU.
    """

    width: int
    milliseconds: float


TRACKS = {
    "ms1m": Track(512, 10),
    "glint": Track(1024, 20),
    "cfat": Track(512, 15),
    "unconstrained": Track(1024, 30),
}


@dataclass(frozen=True)
class MfrVerdict:
    """What the check says.

    Args:
        path: the file that was checked.
        rule: which rule it breaks, None for none; that of time is left out, since a CPU says nothing of it.
        problem: the same in words.
        milliseconds: sixth fastest of 50 runs, None where it did not come so far.
        limit: of the track, in milliseconds.
    """

    path: Path
    rule: str | None
    problem: str = ""
    milliseconds: float | None = None
    limit: float = 0.0

    def summary(self) -> str:
        """Return one line."""
        if self.rule is not None:
            return f"{self.path}: fails the rule '{self.rule}': {self.problem}"
        took = f"{self.milliseconds:.1f} ms for a face here"
        slow = self.milliseconds is not None and self.milliseconds > self.limit
        judged = f"{took}, the track allows {self.limit:g} on its GPU: measure it there" if slow else took
        return f"{self.path}: passes; {judged}"


class _BrokenError(Exception):
    """A rule is broken; the arguments are its name and what is wrong."""


def check_mfr(path: Path, track: str = "cfat") -> MfrVerdict:
    """Check a model by the challenge's rules: one input, one output, free batch, 112 x 112, size, float32 weights, width.

    The rules and their order are those of `ArcFaceORT.check` of arcface_torch's onnx_helper.py. Other than there, nothing
    is written into the folder, and a model that fails at a batch of 32 breaks a rule instead of raising.

    Args:
        path: an .onnx, or a folder whose last .onnx in the order of names counts.
        track: ms1m, glint, cfat or unconstrained.

    Raises:
        ExportError: no such track, file or folder.
    """
    if track not in TRACKS:
        raise ExportError(f"--track {track}: expected one of {', '.join(TRACKS)}.{did_you_mean(track, TRACKS)}")
    limits, file = TRACKS[track], _choose(path)
    try:
        milliseconds = _judge(file, limits, track)
    except _BrokenError as broken:
        rule, problem = broken.args
        return MfrVerdict(file, rule, problem)
    return MfrVerdict(file, None, "", milliseconds, limits.milliseconds)


def _choose(path: Path) -> Path:
    files = sorted(path.glob("*.onnx")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        what = "holds no .onnx" if path.is_dir() else "does not exist"
        raise ExportError(f"{path}: {what}; expected a model, or a folder with one. Export the student first.")
    return files[-1]


def _judge(file: Path, limits: Track, track: str) -> float:
    """Go through the rules in their order; return the time of a face in milliseconds."""
    model, session = _load(file)
    (entry, *_), outputs = session.get_inputs(), session.get_outputs()
    _require(len(entry.shape) == 4, "input rank", f"input {entry.shape}; expected 4 dimensions")
    if not isinstance(entry.shape[0], str):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
        session = _session(model.SerializeToString())
        entry = session.get_inputs()[0]
    _require(len(outputs) == 1, "one output", f"{len(outputs)} outputs; expected one, the embedding")
    nodes = len(model.graph.node)
    _require(nodes >= FEWEST_NODES, "nodes", f"{nodes} nodes; expected at least {FEWEST_NODES}")
    expected = _input_size(file.parent) if track == "cfat" else (FACE_SIZE, FACE_SIZE)
    found = tuple(entry.shape[2:4][::-1])
    _require(found == expected, "input size", f"input {found}; expected {expected}")
    size = file.stat().st_size / MEGABYTE
    _require(size <= LARGEST, "file size", f"{size:.0f} MB; expected at most {LARGEST}")
    mean, std = _normalisation(model, file.parent, track)
    _require_wide_weights(model)
    return _run(session, entry, limits, (mean, std))


def _load(file: Path) -> tuple[ModelProto, onnxruntime.InferenceSession]:
    session = _session(str(file))
    return onnx.load(str(file)), session


def _session(source: str | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        raise _BrokenError("loads", f"onnxruntime cannot load it ({_reason(error)}); expected an ONNX model") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _require(fine: bool, rule: str, problem: str) -> None:
    if not fine:
        raise _BrokenError(rule, problem)


def _input_size(folder: Path) -> tuple[int, int]:
    """Return width and height: those of crop.txt's last two lines where there is one."""
    lines = _numbers(folder / CROP, 6, int)
    return (lines[4], lines[5]) if lines else (FACE_SIZE, FACE_SIZE)


def _numbers(file: Path, count: int, kind: Callable[[str], Any]) -> list[Any]:
    """Return the numbers of a text file, one a line; none where there is no such file."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    try:
        numbers = [kind(line) for line in lines]
    except ValueError:
        numbers = []
    _require(
        len(numbers) == count, file.name, f"{file.name} has {len(lines)} lines; expected {count} numbers, one a line"
    )
    return numbers


def _normalisation(model: ModelProto, folder: Path, track: str) -> tuple[float, float]:
    """Return mean and deviation: of pixel_norm.txt, or by the names of the first nodes."""
    given = _numbers(folder / PIXEL_NORM, 2, float) if track == "cfat" else []
    if given:
        return given[0], given[1]
    names = [node.name for node in model.graph.node[:FIRST_NODES]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    divides = any(name.startswith(("Mul", "_mul", "Div")) for name in names)
    return (0.0, 1.0) if subtracts and divides else (127.5, 127.5)


def _require_wide_weights(model: ModelProto) -> None:
    for weight in model.graph.initializer:
        kind = numpy_helper.to_array(weight).dtype
        _require(kind.itemsize >= 4, "weights", f"weight {weight.name} is {kind}; expected 4 bytes or more a number")


def _run(session: onnxruntime.InferenceSession, entry: Any, limits: Track, norm: tuple[float, float]) -> float:
    width, height = entry.shape[3], entry.shape[2]
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, height, width)).astype(np.float32)
    face = (pixels - norm[0]) / norm[1]
    seconds = []
    try:
        for _ in range(RUNS):
            start = time.perf_counter()
            embedding = session.run(None, {entry.name: face})[0]
            seconds.append(time.perf_counter() - start)
        total = session.run(None, {entry.name: np.repeat(face, BATCH, axis=0)})[0].sum()
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        raise _BrokenError(
            "batch", f"fails at a batch of 1 or {BATCH} ({_reason(error)}); expected any batch"
        ) from error
    _require(bool(np.isfinite(total)), "finite", f"a batch of {BATCH} sums to {total}; expected a number")
    _require(embedding.ndim >= 2, "embedding rank", f"embedding {embedding.shape}; expected (1, D)")
    found = embedding.shape[1]
    _require(found <= limits.width, "embedding width", f"{found}-d; expected at most {limits.width}")
    return 1000 * sorted(seconds)[COUNTED]
