"""ONNX export of `torch2onnx.py`: one file for any batch size."""

import inspect
from contextlib import ExitStack
from typing import Any

import torch

from insightface_cakd.hosts.compat.fix import Fix, wrapping

# The name that torch2onnx.py:20 gives the first axis of the input: using it makes input and output agree.
BATCH = "None"
OUTPUT = "embedding"
FREE = ("dynamic_axes", "dynamic_shapes", "dynamo")


def _free_batch(stack: ExitStack) -> None:
    traces = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}

    @wrapping(torch.onnx, "export", stack)
    def export(original: Any, model: Any, args: Any = (), f: Any = None, **kwargs: Any) -> Any:
        """Trace with a free first axis of input and output, unless the caller sets axes himself."""
        names = kwargs.get("input_names")
        if names and not any(key in kwargs for key in FREE):
            outputs = kwargs.setdefault("output_names", [OUTPUT])
            kwargs |= {"dynamic_axes": {name: {0: BATCH} for name in (*names, *outputs)}, **traces}
        return original(model, args, f, **kwargs)


EXPORT_BATCH = Fix(
    name="export-batch",
    breaks="torch2onnx.py:17: MobileFaceNet and the Transformers stop at batch > 1, with torch >= 2.9 all networks do; the "
    "asked-for opset 11 becomes 18, and the weights go into a second file",
    since="every version; torch 2.9 exports through torch.export",
    fix="the tracing exporter, with a free first axis of input and output, the opset that was asked for, and one file",
    until="arcface_torch passes dynamic_axes",
    applies=lambda: f"torch {torch.__version__}: without dynamic axes the batch size of the example is kept",
    apply=_free_batch,
)
