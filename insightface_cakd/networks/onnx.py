"""Runs ONNX recognisers, as InsightFace publishes them, with onnxruntime."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.external_data_helper import uses_external_data
from torch import Tensor, nn

from insightface_cakd.errors import TeacherError, in_one_line
from insightface_cakd.networks.onnx_ends import TEACHER, OnnxAdvice, checked_input, checked_output
from insightface_cakd.networks.onnx_graph import all_tensors, image_inputs, slopes_by_channel, spread_prelu
from insightface_cakd.networks.trial import trial_images
from insightface_cakd.networks.weights import existing_file, file_sha256

FIRST_NODES = 8
SUBTRACTIONS, PRODUCTS = ("Sub", "_minus"), ("Mul", "_mul")
CPU = ["CPUExecutionProvider"]
# Images per piece on a CPU: the maps of more do not stay in its cache, and a large batch takes half as long again.
PIECE = 8
# Of the length of the answers: by so much they may change with the batch. In int8 with ranges taken from the batch it is a few hundredths.
SHARE = 0.3


class OnnxNetwork(nn.Module):
    """An ONNX recogniser as a torch module.

    It has one image input and one embedding output, no gradient, and no modules to tap. A graph made for a fixed batch
    is run in pieces of that size, the last one padded with copies of its own last image; on a CPU, other graphs are run
    in pieces that fit in its cache. A graph with a batch of 1 written into it, or whose answer to an image depends on the others of
    its batch, is run image by image, with a warning. A graph that normalises its images itself is given pixels in [0, 255], see
    `named_like_normalisation`, and so is one of uint8.

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
        self.where = where
        self.providers = providers(device, where)
        try:
            graph = _graph(path, self.providers == CPU)
            self.session = onnxruntime.InferenceSession(graph, session_options(), providers=self.providers)
            normalises = named_like_normalisation(onnx.load(str(path), load_external_data=False)) is not None
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            raise TeacherError(
                f"{where}: cannot be read ({_reason(error)}); expected an ONNX model. It is truncated, damaged or something "
                f"else: {advice.damaged}."
            ) from error
        self.input = checked_input(self.session, input_size, where, advice)
        self.takes_bytes = normalises or self.input.takes_levels
        self.output = checked_output(self.session, where)
        self.batch = self.input.batch
        self._try(where, advice)

    def given_its_range(self, where: str) -> "OnnxNetwork":
        """Return itself, from now on given pixels as they come.

        Raises:
            TeacherError: it takes uint8, which has one range only.
        """
        if self.input.takes_levels:
            raise TeacherError(
                f"{where}: takes uint8, that is pixels in [0, 255]; expected no mean and no std. Remove teacher.mean and std."
            )
        self.takes_bytes = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch.

        Shape:
            images: (B, 3, S, S), RGB in [-1, 1]. Embeddings: (B, D), float32.
        """
        pixels = images * 127.5 + 127.5 if self.takes_bytes else images
        pixels = pixels.detach().to("cpu", torch.float32)
        if self.input.takes_levels:
            pixels = pixels.round().clamp(0, 255)
        if self.input.channels_last:
            pixels = pixels.permute(0, 2, 3, 1)
        array = pixels.contiguous().numpy().astype(self.input.kind, copy=False)
        return torch.from_numpy(self._run(array)).to(images.device, torch.float32)

    def _run(self, array: np.ndarray) -> np.ndarray:
        size = self.batch or (PIECE if self.providers == CPU else max(1, len(array)))
        pieces = np.split(array, range(size, len(array), size))
        if self.batch is not None:
            pieces[-1] = np.pad(pieces[-1], ((0, size - len(pieces[-1])), (0, 0), (0, 0), (0, 0)), mode="edge")
        return np.concatenate([self._answer(piece) for piece in pieces])[: len(array)]

    def _answer(self, piece: np.ndarray) -> np.ndarray:
        answer = np.asarray(self.session.run([self.output], {self.input.name: piece})[0])
        if answer.ndim < 2 or len(answer) != len(piece):
            raise TeacherError(
                f"{self.where}: answers {answer.shape} to {len(piece)} images; expected ({len(piece)}, D), an embedding of each. Export it "
                "for a free batch."
            )
        return answer

    def _try(self, where: str, advice: OnnxAdvice) -> None:
        """Run two images, to find a batch that is written into the graph."""
        images = trial_images(2, self.input_size, torch.device("cpu"))
        try:
            alone = torch.cat([self(image[None]) for image in images])
        except TeacherError:
            raise
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            raise TeacherError(
                f"{where}: cannot be run on an image of {self.input_size}x{self.input_size} ({_reason(error)}); expected a recogniser for "
                f"it: {advice.damaged}."
            ) from error
        if self.batch is None and (why := self._depends_on_the_batch(images, alone)):
            self.batch = 1
            warnings.warn(
                f"{where}: {why}, so it is run image by image, which is slower. Export it with a free batch.",
                stacklevel=2,
            )

    def _depends_on_the_batch(self, images: Tensor, alone: Tensor) -> str | None:
        """Return why images cannot be run together, None if they can."""
        try:
            together = self(images)
        # onnxruntime's exceptions share no base class but Exception.
        except Exception:
            return "a batch of 1 is written into its graph"
        if float((together - alone).norm()) > SHARE * float(alone.norm()):
            return "answers something else to an image when another is in the batch"
        return None


def _reason(error: Exception) -> str:
    return in_one_line(error).split(" : ")[-1][:200]


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
    # InsightFace's own packs declare an output batch of 1 and warn at every other size; errors are raised, too.
    options.log_severity_level = 4
    return options
