"""A model as a file becomes something that embeds images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import CAKDError, EvaluationError
from insightface_cakd.networks.onnx import OnnxNetwork
from insightface_cakd.networks.weights import infer_embedding_size, load_strictly, read_state

GetModel = Callable[..., nn.Module]
Embed = Callable[[Tensor], Tensor]


def load_embedder(path: Path, network: str | None, get_model: GetModel, device: torch.device) -> Embed:
    """Return what embeds (B, 3, 112, 112) images, RGB in [-1, 1].

    Args:
        path: an .onnx, or weights of `network`.
        network: needed for weights.
        get_model: the host's factory.
        device: where the model runs; onnxruntime without a CUDA provider warns and uses the CPU.

    Raises:
        EvaluationError: no such file, a damaged one, no recogniser, or weights whose network is not named or another.
    """
    if path.suffix.lower() == ".onnx":
        return load_onnx(path, device)
    if network is None:
        raise EvaluationError(
            f"{path}: which network these weights are of is not known; expected its name. Pass --network, for example "
            "--network mbf."
        )
    return load_backbone(path, network, get_model).to(device)


def load_backbone(path: Path, network: str, get_model: GetModel) -> nn.Module:
    """Return a network with a file's weights, on the CPU and in eval mode; the file says how wide the embedding is.

    Args:
        path: a state dict, bare or with the prefix `module.`, or a checkpoint that holds `state_dict_backbone`.
        network: name that `get_model` knows.
        get_model: the host's factory.

    Raises:
        EvaluationError: the file holds no weights, or not exactly those of this network.
    """
    require_file(path, f"the weights of {network}")
    with _own_words(f"Is --network {network} the right one, and the file the weights of a backbone?"):
        state = read_state(path, str(path))
        backbone = get_model(network, num_features=infer_embedding_size(state, str(path)), fp16=False, dropout=0.0)
        load_strictly(backbone, state, f"{path} as {network}")
    return backbone.eval()


def load_onnx(path: Path, device: torch.device) -> Embed:
    """Return an ONNX recogniser as a callable on torch tensors.

    Args:
        path: one float32 image input of 112 x 112, one output.
        device: see `load_embedder`.

    Raises:
        EvaluationError: onnxruntime cannot read it, or its inputs and outputs are no recogniser's.
    """
    require_file(path, "an ONNX recogniser")
    with _own_words(f"Verification sets hold faces of {FACE_SIZE}x{FACE_SIZE}: is it a recognition model for them?"):
        return OnnxNetwork(path, device, FACE_SIZE, str(path))


def require_file(path: Path, what: str) -> None:
    """Check that a path is a file.

    Args:
        path: as the user gave it.
        what: what an error line says was expected.

    Raises:
        EvaluationError: it is not there, or a folder.
    """
    if not path.is_file():
        raise EvaluationError(
            f"{path}: {'is a folder' if path.is_dir() else 'does not exist'}; expected {what}. Correct the path."
        )


@contextmanager
def _own_words(advice: str) -> Iterator[None]:
    """Turn our errors into an EvaluationError; advice about a recipe's teacher becomes advice about this model."""
    try:
        yield
    except CAKDError as error:
        problem, _, given = str(error).rpartition(". ")
        raise EvaluationError(f"{problem}. {advice}" if "teacher." in given else str(error)) from error
