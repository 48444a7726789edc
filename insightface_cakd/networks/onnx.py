"""Runs ONNX recognisers, as InsightFace publishes them, with onnxruntime."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.external_data_helper import uses_external_data
from torch import Tensor, nn

from insightface_cakd.errors import TeacherError, in_one_line
from insightface_cakd.networks.onnx_graph import all_tensors, image_inputs, slopes_by_channel, spread_prelu
from insightface_cakd.networks.weights import existing_file, file_sha256

FIRST_NODES = 8
SUBTRACTIONS, PRODUCTS = ("Sub", "_minus"), ("Mul", "_mul")
CPU = ["CPUExecutionProvider"]
# Images per piece on a CPU: the maps of more do not stay in its cache, and a large batch takes half as long again.
PIECE = 8
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


class OnnxNetwork(nn.Module):
    """An ONNX recogniser as a torch module.

    It has one image input and one embedding output, no gradient, and no modules to tap. A graph made for a fixed batch
    is run in pieces of that size, the last one padded with copies of its own last image; on a CPU, other graphs are run
    in pieces that fit in its cache. A graph that normalises its images itself is given pixels in [0, 255], see
    `named_like_normalisation`.

    Shape:
        images: (B, 3, S, S), RGB in [-1, 1], on any device. Embeddings: (B, D), float32, on the images' device.

    Args:
        device: on CUDA, onnxruntime's CUDA provider is used if there is one, otherwise the CPU, with a warning.
        input_size: side S of the images in pixels.
    """

    def __init__(
        self, path: Path, device: torch.device, input_size: int, where: str, advice: OnnxAdvice = TEACHER
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.providers = providers(device, where)
        try:
            graph = _graph(path, self.providers == CPU)
            self.session = onnxruntime.InferenceSession(graph, session_options(), providers=self.providers)
            self.takes_bytes = named_like_normalisation(onnx.load(str(path), load_external_data=False)) is not None
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            reason = in_one_line(error).split(" : ")[-1][:200]
            raise TeacherError(
                f"{where}: cannot be read ({reason}); expected an ONNX model. It is truncated, damaged or something "
                f"else: {advice.damaged}."
            ) from error
        self.input, self.batch = _checked_input(self.session, input_size, where, advice)
        self.output = _checked_output(self.session, where)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch.

        Shape:
            images: (B, 3, S, S), RGB in [-1, 1]. Embeddings: (B, D), float32.
        """
        pixels = images * 127.5 + 127.5 if self.takes_bytes else images
        array = pixels.detach().to("cpu", torch.float32).contiguous().numpy()
        return torch.from_numpy(self._run(array)).to(images.device)

    def _run(self, array: np.ndarray) -> np.ndarray:
        size = self.batch or (PIECE if self.providers == CPU else max(1, len(array)))
        pieces = np.split(array, range(size, len(array), size))
        if self.batch is not None:
            pieces[-1] = np.pad(pieces[-1], ((0, size - len(pieces[-1])), (0, 0), (0, 0), (0, 0)), mode="edge")
        rows = [self.session.run([self.output], {self.input: piece})[0] for piece in pieces]
        return np.concatenate(rows)[: len(array)]


def model_sha256(path: Path) -> str:
    """Return the sha256 of a model and of weights beside it.

    An .onnx may keep its weights in other files (external data). Then the hash is that of the lines `sha256 name`, of the .onnx itself and
    of each such file in the order of their names. Everything else is one file.

    Raises:
        TeacherError: a file of the weights is not there.
    """
    digest = file_sha256(path)
    beside = _external_files(path) if path.suffix.lower() == ".onnx" else []
    if not beside:
        return digest
    lines = [f"{digest} {path.suffix}"]
    for name in beside:
        file = existing_file(str(path.parent / name), f"{path}: its weights", "Put them beside it.")
        lines.append(f"{file_sha256(file)} {name}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _external_files(path: Path) -> list[str]:
    try:
        model = onnx.load(str(path), load_external_data=False)
    # What is wrong with a damaged file is said by whoever runs it.
    except Exception:
        return []
    weights = (weight for weight in all_tensors(model) if uses_external_data(weight))
    return sorted({entry.value for weight in weights for entry in weight.external_data if entry.key == "location"})


def side_of(path: Path) -> int | None:
    """Return the side of the images that a file takes."""
    try:
        model = onnx.load(str(path), load_external_data=False)
        shape = image_inputs(model)[0].type.tensor_type.shape.dim
    # What is wrong with a damaged file is said by whoever runs it.
    except Exception:
        return None
    return shape[2].dim_value if len(shape) == 4 and shape[2].HasField("dim_value") else None


def _graph(path: Path, cpu: bool) -> str | bytes:
    """Return the path, or the serialised graph if it had to be rewritten.

    For a CPU a PReLU is rewritten to run fast.
    """
    model = onnx.load(str(path), load_external_data=False)
    whole = not any(uses_external_data(weight) for weight in all_tensors(model))
    rewritten = whole and slopes_by_channel(model) + (spread_prelu(model) if cpu else 0)
    return model.SerializeToString() if rewritten else str(path)


def providers(device: torch.device, where: str) -> list[str]:
    """Return onnxruntime's providers for a device, best first.

    Warns when a GPU is asked for but cannot be used.
    """
    if device.type != "cuda":
        return CPU
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        warnings.warn(
            f"{where}: runs on the CPU, this onnxruntime has no CUDA provider. Install onnxruntime-gpu, or cache the "
            "teacher's embeddings.",
            stacklevel=2,
        )
        return CPU
    return ["CUDAExecutionProvider", *CPU]


def named_like_normalisation(model: onnx.ModelProto) -> list[str] | None:
    """Return the names of the first nodes if they suggest a normalisation.

    InsightFace's rule for a graph that normalises its images itself: among its first eight nodes, one name begins like
    a subtraction and one like a product. The weights are not needed.
    """
    names = [node.name for node in model.graph.node[:FIRST_NODES]]
    both = all(any(name.startswith(words) for name in names) for words in (SUBTRACTIONS, PRODUCTS))
    return names if both else None


def session_options() -> onnxruntime.SessionOptions:
    """Return the options of a session that takes turns with torch."""
    options = onnxruntime.SessionOptions()
    # As many threads as torch has: the two take turns, and several ranks share one machine.
    options.intra_op_num_threads = torch.get_num_threads()
    # An idle thread pool must not spin on the cores that the student is using.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # InsightFace's own packs declare an output batch of 1 and warn at every other size.
    options.log_severity_level = 3
    return options


def _checked_input(
    session: onnxruntime.InferenceSession, input_size: int, where: str, advice: OnnxAdvice
) -> tuple[str, int | None]:
    """Return the input's name and batch size, None where it is free."""
    inputs = session.get_inputs()
    first = inputs[0]
    is_image = (
        first.type == "tensor(float)" and len(first.shape) == 4 and first.shape[1] in (3, None, str(first.shape[1]))
    )
    if len(inputs) != 1 or not is_image:
        shown = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise TeacherError(
            f"{where}: its inputs are {shown}; expected one float32 image input [batch, 3, {input_size}, {input_size}]."
        )
    sides = [side for side in first.shape[2:] if isinstance(side, int)]
    if any(side != input_size for side in sides):
        raise TeacherError(
            f"{where}: takes images of {'x'.join(map(str, first.shape[2:]))}, {advice.size} is {input_size}. "
            f"{advice.other_size.format(side=sides[0])}"
        )
    batch = first.shape[0] if isinstance(first.shape[0], int) else None
    if batch is not None and not 0 < batch <= LARGEST_BATCH:
        raise TeacherError(
            f"{where}: takes {batch} images at a time; expected 1 to {LARGEST_BATCH}, or any number. Export it with a free batch."
        )
    return first.name, batch


def _checked_output(session: onnxruntime.InferenceSession, where: str) -> str:
    outputs = session.get_outputs()
    if len(outputs) != 1:
        shown = ", ".join(one.name for one in outputs)
        raise TeacherError(
            f"{where}: has {len(outputs)} outputs ({shown}); expected one, the embedding. Is it a recognition model?"
        )
    return outputs[0].name
