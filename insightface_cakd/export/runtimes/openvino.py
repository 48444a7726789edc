"""Intel's OpenVINO, a runtime for CPUs, which reads ONNX itself."""

from pathlib import Path

import numpy as np

from insightface_cakd.export.onnx import INPUT, OUTPUT
from insightface_cakd.export.runtimes.runtime import EmbedOne, Runtime

XML, BIN = ".xml", ".bin"


def convert(onnx: Path, folder: Path, stem: str) -> None:
    """Write `stem.xml` and `stem.bin`, in the precision of the ONNX file."""
    import openvino

    network = openvino.Core().read_model(str(onnx))
    network.inputs[0].tensor.set_names({INPUT})
    network.outputs[0].tensor.set_names({OUTPUT})
    openvino.save_model(network, str(folder / f"{stem}{XML}"), compress_to_fp16=False)


def load(folder: Path, stem: str, threads: int) -> EmbedOne:
    """Load the files, and return a function that embeds one face."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(folder / f"{stem}{XML}"), "CPU", settings)
    return lambda face: np.array(compiled({INPUT: face})[OUTPUT])


OPENVINO = Runtime("openvino", ("openvino",), (XML, BIN), INPUT, OUTPUT, convert, load)
