"""What goes into an ONNX recogniser, and what comes out."""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from insightface_cakd.errors import TeacherError

# What an input may be made of, by onnxruntime's names.
KINDS = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}
# Of a graph with a fixed batch, which is filled up to it: 2.5 GB of faces of 224 pixels.
LARGEST_BATCH = 4096


@dataclass(frozen=True)
class OnnxAdvice:
    """The advice that ends an error line about an unusable graph.

    Args:
        size: name of the setting that holds the side of the images.
        other_size: advice if the graph takes images of another side; `{side}` is replaced by that side.
    """

    damaged: str
    size: str
    other_size: str


TEACHER = OnnxAdvice(
    "get it again, or correct teacher.network", "teacher.input_size", "Set teacher.input_size: {side}."
)


@dataclass(frozen=True)
class OnnxInput:
    """The image input of a graph.

    Args:
        name: in the graph.
        batch: number of images it takes at a time; None where it is free.
        kind: of its numbers.
        channels_last: whether it takes (B, S, S, 3).
    """

    name: str
    batch: int | None
    kind: np.dtype
    channels_last: bool

    @property
    def takes_levels(self) -> bool:
        """Whether its numbers are the 256 levels themselves."""
        return self.kind == np.uint8


def checked_input(session: onnxruntime.InferenceSession, input_size: int, where: str, advice: OnnxAdvice) -> OnnxInput:
    """Return a graph's input, which must be of images of the size."""
    inputs = session.get_inputs()
    first = inputs[0]
    shape = first.shape
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    free = len(shape) == 4 and not isinstance(shape[1], int)
    if len(inputs) != 1 or first.type not in KINDS or len(shape) != 4 or not (channels_last or free or shape[1] == 3):
        shown = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise TeacherError(
            f"{where}: its inputs are {shown}; expected one image input [batch, 3, {input_size}, {input_size}] of float32, float16, "
            "float64 or uint8, or with the channels last. Is it a recognition model?"
        )
    sides = [side for side in (shape[1:3] if channels_last else shape[2:]) if isinstance(side, int)]
    if any(side != input_size for side in sides):
        shown = "x".join(map(str, shape[1:3] if channels_last else shape[2:]))
        raise TeacherError(
            f"{where}: takes images of {shown}, {advice.size} is {input_size}. {advice.other_size.format(side=sides[0])}"
        )
    batch = shape[0] if isinstance(shape[0], int) else None
    if batch is not None and not 0 < batch <= LARGEST_BATCH:
        raise TeacherError(
            f"{where}: takes {batch} images at a time; expected 1 to {LARGEST_BATCH}, or any number. Export it with a free batch."
        )
    return OnnxInput(first.name, batch, np.dtype(KINDS[first.type]), channels_last)


def checked_output(session: onnxruntime.InferenceSession, where: str) -> str:
    """Return the name of a graph's one output."""
    outputs = session.get_outputs()
    if len(outputs) != 1:
        shown = ", ".join(f"{one.name} {one.shape}" for one in outputs)
        raise TeacherError(
            f"{where}: has {len(outputs)} outputs ({shown}); expected one, the embedding. Is it a recognition model? Then keep that one: "
            "onnx.utils.extract_model(FILE, NEW, [INPUT], [OUTPUT])."
        )
    return outputs[0].name
