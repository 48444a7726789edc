"""A backbone becomes an ONNX file by InsightFace's contract."""

import copy
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from insightface_cakd.atomic import replacing
from insightface_cakd.errors import ExportError

INPUT, OUTPUT = "data", "embedding"
OPSET = 13


def export_onnx(backbone: nn.Module, path: Path, metadata: dict[str, str], image_size: int = 112) -> None:
    """Write one file: float32 input `data` [batch, 3, 112, 112], RGB in [-1, 1]; float32 output `embedding` [batch, D], not normalised.

    The normalisation stays outside the graph: InsightFace would apply it a second time. The tracing exporter with opset 13 is used, which
    the oldest consumers read.

    Args:
        backbone: copied, so that its mode, device and precision stay as they are.
        path: the .onnx to write; whole or not at all.
        metadata: written into the file.
        image_size: side of the input.

    Raises:
        ExportError: the network cannot be traced, or the file cannot be written.
    """
    network = copy.deepcopy(backbone).cpu().float().eval()
    blank = torch.zeros(2, 3, image_size, image_size)
    try:
        with replacing(path) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (blank,),
                str(temporary),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
            _add_metadata(temporary, metadata)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror}). Nothing was left behind; free some space.") from error
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{path}: {type(backbone).__name__} cannot be exported ({reason}); expected operators that ONNX knows.") from error


def _add_metadata(path: Path, metadata: dict[str, str]) -> None:
    model = onnx.load(str(path))
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
