"""Loads a model file as a callable that embeds images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import CAKDError, EvaluationError
from insightface_cakd.networks.onnx import OnnxNetwork, side_of
from insightface_cakd.networks.onnx_ends import OnnxAdvice
from insightface_cakd.networks.weights import Advice, infer_embedding_size, load_strictly, read_state

GetModel = Callable[..., nn.Module]
Embed = Callable[[Tensor], Tensor]

FACES = OnnxAdvice(
    "get it again",
    "that of faces to be measured",
    f"Verification sets hold faces of {FACE_SIZE}x{FACE_SIZE}: is it a recognition model for them?",
)


def load_embedder(
    path: Path,
    network: str | None,
    get_model: GetModel,
    device: torch.device,
    option: str = "--network",
    sides: Sequence[int] = (FACE_SIZE,),
) -> Embed:
    """Return a callable that embeds images.

    It maps (B, 3, 112, 112), RGB in [-1, 1], to (B, D).

    Args:
        path: an .onnx, or weights of `network`.
        network: name of the network; needed for weights.
        get_model: the host's factory of networks.
        device: where the model runs; onnxruntime without a CUDA provider warns and uses the CPU.
        option: the command-line option by which the user names the network.
        sides: sides of the images that an .onnx may take; one that takes another than the first has it as `input_size`.

    Raises:
        EvaluationError: the file does not exist, is damaged or is not a recogniser; or the network of the weights is
            not given or is another.
    """
    if path.suffix.lower() == ".onnx":
        return load_onnx(path, device, sides)
    if network is None:
        raise network_unknown(path, option)
    return load_backbone(path, network, get_model, option).to(device)


def load_backbone(path: Path, network: str, get_model: GetModel, option: str = "--network") -> nn.Module:
    """Return a network with the weights of a file.

    It is on the CPU and in eval mode. The width of the embedding is read from the file.

    Args:
        path: a state dict, with or without the prefix `module.`, or a checkpoint that holds `state_dict_backbone`.
        network: a name that `get_model` knows.
        get_model: the host's factory of networks.
        option: the command-line option by which the user names the network.

    Raises:
        EvaluationError: the file holds no weights, or not exactly those of this network.
    """
    require_file(path, f"the weights of {network}")
    question = f"Is {option} {network} the right one, and the file the weights of a backbone?"
    advice = Advice(question, question, question, question)
    with _evaluation_errors():
        state = read_state(path, str(path), advice)

        def of_width(width: int) -> nn.Module:
            return get_model(network, num_features=width, fp16=False, dropout=0.0)

        backbone = of_width(infer_embedding_size(state, str(path), of_width, advice))
        load_strictly(backbone, state, f"{path} as {network}", advice)
    return backbone.eval()


def load_onnx(path: Path, device: torch.device, sides: Sequence[int] = (FACE_SIZE,)) -> Embed:
    """Return an ONNX recogniser as a callable on torch tensors."""
    require_file(path, "an ONNX recogniser")
    with _evaluation_errors():
        own = side_of(path) if len(sides) > 1 else None
        return OnnxNetwork(path, device, next((side for side in sides if side == own), sides[0]), str(path), FACES)


def network_unknown(path: Path, option: str) -> EvaluationError:
    """Return the error for weights whose network was not given."""
    return EvaluationError(
        f"{path}: which network these weights are of is not known; expected its name. Pass {option}, for example {option} mbf."
    )


def require_file(path: Path, what: str) -> None:
    """Check that a path is a file."""
    if not path.is_file():
        raise EvaluationError(
            f"{path}: {'is a folder' if path.is_dir() else 'does not exist'}; expected {what}. Correct the path."
        )


@contextmanager
def _evaluation_errors() -> Iterator[None]:
    """Re-raise the error of a model that cannot be loaded as EvaluationError."""
    try:
        yield
    except CAKDError as error:
        raise EvaluationError(str(error)) from error
