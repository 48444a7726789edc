"""Export of a backbone to an ONNX file that meets InsightFace's contract."""

import contextlib
import copy
import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import onnx
import torch
from torch import nn
from torch.onnx.errors import UnsupportedOperatorError

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import ExportError, in_one_line
from insightface_cakd.networks.onnx_graph import fold_batch_norms
from insightface_cakd.runtime.atomic import replacing

Exporter = Literal["legacy", "dynamo"]

INPUT, OUTPUT, BATCH = "data", "embedding", "batch"
# Tried in this order, the first with all operators of the network is used: 13 is the one that the oldest consumers
# read, 14 adds attention.
_LEGACY_OPSETS = (13, 14, 17)
_DYNAMO_OPSET = 18
_STDOUT = 1


def export_onnx(
    backbone: nn.Module,
    path: Path,
    metadata: Mapping[str, str],
    exporter: Exporter = "legacy",
    side: int = FACE_SIZE,
    batch: int | None = None,
) -> None:
    """Write a backbone as one ONNX file.

    Its input is `data` [batch, 3, 112, 112] and its output `embedding` [batch, D], both float32 with a free batch size.
    The input is RGB in [-1, 1]: the normalisation (x - 127.5) / 127.5 is not part of the graph, since InsightFace
    applies it to every model it loads. The output is not normalised.

    Args:
        backbone: the bare student, which in eval mode returns its embedding; its mode, device and precision are kept.
        path: the .onnx file to write, with all weights in it; a failed export leaves nothing behind.
        metadata: written into the file as `metadata_props`.
        exporter: `legacy` traces, at opset 13 if the network allows it; `dynamo` captures and optimises, at opset 18.
        side: of the images.
        batch: a fixed batch size; None leaves it free.

    Raises:
        ExportError: another file name, a network that cannot be exported, a file that cannot be written, or `dynamo` without onnxscript.
    """
    if path.suffix != ".onnx":
        raise ExportError(
            f"export {path.name}: expected a name that ends in .onnx; InsightFace takes others for model packs. Rename it."
        )
    if exporter == "dynamo" and find_spec("onnxscript") is None:
        raise ExportError(
            f"export {path.name}: --exporter dynamo needs onnxscript, which is not installed. pip install 'insightface-cakd[dynamo]', or "
            "leave --exporter out."
        )
    network = plain_copy(backbone)
    try:
        with replacing(path) as temporary, _quietly():
            EXPORTERS[exporter](network, temporary, side, batch)
            _finish(temporary, metadata)
    # Tracing runs the network's own code, which may raise anything.
    except Exception as error:
        raise _in_one_line(error, f"export {path.name}", type(backbone).__name__) from error


def plain_copy(backbone: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in float32 and eval mode.

    The copy is what is exported, and what the file is compared with.
    """
    return copy.deepcopy(backbone).cpu().float().eval()


def _trace(network: nn.Module, path: Path, side: int, batch: int | None) -> None:
    """Write a file by tracing, at the lowest opset of `_LEGACY_OPSETS` possible."""
    for opset in _LEGACY_OPSETS:
        try:
            torch.onnx.export(
                network,
                (_example(side, batch),),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: BATCH}, OUTPUT: {0: BATCH}} if batch is None else None,
                opset_version=opset,
                dynamo=False,
            )
            return
        except UnsupportedOperatorError:
            if opset == _LEGACY_OPSETS[-1]:
                raise


def _capture(network: nn.Module, path: Path, side: int, batch: int | None) -> None:
    """Write a file by `torch.export`."""
    torch.onnx.export(
        network,
        (_example(side, batch),),
        str(path),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim(BATCH)},) if batch is None else None,
        opset_version=_DYNAMO_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


EXPORTERS: dict[str, Callable[[nn.Module, Path, int, int | None], None]] = {"legacy": _trace, "dynamo": _capture}


def _example(side: int, batch: int | None) -> torch.Tensor:
    # Two images: a batch size of one would become a constant.
    return torch.zeros(batch or 2, 3, side, side)


def _finish(path: Path, metadata: Mapping[str, str]) -> None:
    """Add metadata, fold the last batch norms, remove notes on nodes.

    The exporter notes on each node the source files of this machine.
    """
    model = onnx.load(str(path))
    # The dynamo exporter has folded all it can; the legacy one leaves the batch norm after the linear layer.
    fold_batch_norms(model)
    for node in model.graph.node:
        node.ClearField("metadata_props")
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _in_one_line(error: BaseException, where: str, network: str) -> ExportError:
    """Return the error of a failed export, by its first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError):
        return ExportError(
            f"{where}: cannot be written ({error.strerror}); nothing was left behind. Free some space, or choose "
            "another path."
        )
    reason = in_one_line(error)[:200]
    return ExportError(
        f"{where}: {network} cannot be exported ({type(error).__name__}: {reason}); expected operators that ONNX "
        "knows. Replace the operator, or try the other exporter."
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporters: their warnings, and what they print.

    The legacy exporter prints the whole graph when an operator is not supported. torch prints it from C++, so the
    standard output of the process is redirected meanwhile.
    """
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    try:
        with warnings.catch_warnings(), open(os.devnull, "wb") as nowhere:
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), _STDOUT)
            yield
    finally:
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # Text that C has buffered must not appear either.
        os.dup2(kept, _STDOUT)
        os.close(kept)
