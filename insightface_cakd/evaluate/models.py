"""A model as a file becomes something that embeds images."""

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from insightface_cakd.errors import CAKDError, EvaluationError
from insightface_cakd.evaluate.verification import Embed
from insightface_cakd.teachers.weights import infer_embedding_size, load_strictly, read_state

GetModel = Callable[..., nn.Module]


def load_embedder(path: Path, network: str | None, get_model: GetModel, device: torch.device) -> Embed:
    """Return what embeds (B, 3, 112, 112) images in [-1, 1].

    Args:
        path: an .onnx, or weights of `network`.
        network: needed for weights.
        get_model: the host's factory.
        device: where torch networks run; ONNX files use the GPU if onnxruntime has one.

    Raises:
        EvaluationError: the file does not exist, is damaged, or its network is not named.
    """
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file; expected an .onnx, or .pt weights with --network.")
    if path.suffix == ".onnx":
        return load_onnx(path)
    if network is None:
        raise EvaluationError(f"{path}: which network these weights are of is not known; expected --network NAME, for example --network mbf.")
    return load_backbone(path, network, get_model).to(device)


def load_backbone(path: Path, network: str, get_model: GetModel) -> nn.Module:
    """Return a network with the weights of a file, strictly, on the CPU and in eval mode; the embedding's width is the file's.

    Raises:
        EvaluationError: the file is no set of weights, or another network's.
    """
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file; expected the weights of {network}.")
    try:
        state = read_state(path, str(path))
        backbone = get_model(network, num_features=infer_embedding_size(state, str(path)), fp16=False, dropout=0.0)
        load_strictly(backbone, state, f"{path} as {network}")
    except CAKDError as error:
        raise EvaluationError(str(error)) from error
    return backbone.eval()


def load_onnx(path: Path) -> Embed:
    """Return the first output of an ONNX recogniser as a callable on torch tensors.

    Raises:
        EvaluationError: onnxruntime cannot read it.
    """
    try:
        session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise EvaluationError(f"{path}: onnxruntime cannot load it ({reason}); expected a recogniser. Export it again.") from error
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    fixed = session.get_inputs()[0].shape[0] == 1

    def embed(images: Tensor) -> Tensor:
        # A file exported for one image at a time is asked one image at a time.
        parts = images.split(1) if fixed else (images,)
        return torch.cat([torch.from_numpy(session.run([output], {name: part.cpu().numpy()})[0]) for part in parts])

    return embed
