"""Loads the generator that a recipe names."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from insightface_cakd.data.faces.latent import WIDTH, draw_latent
from insightface_cakd.errors import RunError, in_one_line
from insightface_cakd.networks.generators.framing import Crop
from insightface_cakd.networks.generators.generator import Generator, freeze
from insightface_cakd.networks.onnx import providers, session_options
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.objects import import_object, is_place
from insightface_cakd.runtime.reading import reading

DRAWN = "drawn"
EXPECTED = "drawn, a TorchScript file (.pt), an .onnx, or package.module:callable"


def load_generator(
    name: str,
    latent: int | None = None,
    mapping: str | None = None,
    crop: Crop = "whole",
    pixels: tuple[float, float] = (-1.0, 1.0),
) -> Generator:
    """Return a generator, tried out on the CPU.

    Args:
        name: `drawn`; a TorchScript file, whose methods `mapping` and `synthesis` are used if it has them, or which is called; an .onnx
            of one input and one output; or `package.module:callable`, which returns an object with `mapping` and `synthesis`, or a
            network or function from z to images.
        latent: width of z; may be left out where the generator says it, as `z_dim` or in its graph.
        mapping: file of the mapping network, TorchScript or .onnx, where it is apart.
        crop: what is shown of an image, see `framing.frame`.
        pixels: the least and the largest value of its images.

    Raises:
        RunError: there is no such generator, it cannot be read, or its images are none of faces.
    """
    where = f"generator {name}"
    if name == DRAWN:
        if latent not in (None, WIDTH):
            raise RunError(
                f"{where}: latent is {latent}; expected {WIDTH}, the width of a drawn face. Leave latent out."
            )
        return Generator(None, DrawnFaces(), where, WIDTH, crop)
    made = _own(name, where) if is_place(name) and not Path(name).is_file() else _file(name, where)
    with foreign(where, RunError, "mapping and synthesis, or a network from z to images. Correct it.", of=made):
        first, then = _steps(made, where)
    if mapping is not None:
        first = _file(mapping, f"mapping {mapping}")
    width = latent or _width(first) or _width(made)
    if width is None:
        raise RunError(
            f"{where}: does not say how wide its latents are; expected latent in the recipe. Set latent: 512, or what it takes."
        )
    generator = Generator(first, then, where, width, crop, pixels)
    generator.check()
    return generator


class DrawnFaces:
    """Draws a simple face from a vector; needs no file.

    Shape:
        latents: (B, 63). Images: (B, 3, 112, 112), RGB in [-1, 1].
    """

    def __call__(self, latents: Tensor) -> Tensor:
        """Return the faces; they are drawn on the CPU."""
        rows = latents.detach().to("cpu", torch.float64).numpy()
        faces = np.stack([draw_latent(row) for row in rows])
        return torch.from_numpy(faces).to(latents.device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class OnnxStep:
    """Runs an ONNX graph as a step of a generator."""

    def __init__(self, path: Path, where: str) -> None:
        self.path, self.where = path, where
        self.session = self._open(torch.device("cpu"))
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise RunError(
                f"{where}: has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each, z and images. Export it so."
            )
        self.input = inputs[0].name
        wide = inputs[0].shape[1] if len(inputs[0].shape) > 1 else None
        self.z_dim = wide if isinstance(wide, int) else None

    def to(self, device: torch.device) -> "OnnxStep":
        """Open the graph on a device.

        Args:
            device: on CUDA, onnxruntime's CUDA provider is used if there is one.
        """
        self.session = self._open(device)
        return self

    def __call__(self, given: Tensor) -> Tensor:
        """Return the graph's output on the input's device."""
        array = given.detach().to("cpu", torch.float32).contiguous().numpy()
        return torch.from_numpy(self.session.run(None, {self.input: array})[0]).to(given.device)

    def _open(self, device: torch.device) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(
                str(self.path), session_options(), providers=providers(device, self.where)
            )
        # onnxruntime's exceptions share no base class but Exception.
        except Exception as error:
            reason = in_one_line(error)[-200:]
            raise RunError(f"{self.where}: cannot be read ({reason}); expected an ONNX model. Get it again.") from error


def _own(name: str, where: str) -> Any:
    build = import_object(name, "recipe: generator", "callable", RunError)
    if not callable(build):
        raise RunError(
            f"{where}: is a {type(build).__name__}; expected a callable that returns the generator. Correct it."
        )
    with foreign(where, RunError, "it to return a generator. Correct it.", fails="cannot be built"):
        return build()


def _file(name: str, where: str) -> Any:
    path = Path(name).expanduser()
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise RunError(
            f"{where}: a pickle, which may run any code when it is opened; expected {EXPECTED}. Convert it where you trust it: "
            "torch.jit.trace, torch.onnx.export, or a callable of yours that loads its weights."
        )
    if not path.is_file():
        raise RunError(f"{where}: no such file; expected {EXPECTED}. Correct it.")
    if path.suffix.lower() == ".onnx":
        return OnnxStep(path, where)
    expected = "a file written by torch.jit.save. Save the generator with torch.jit.script or trace, not its state dict or a pickle"
    with reading(where, RunError, expected, RuntimeError, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(str(path), map_location="cpu")


def _steps(made: Any, where: str) -> tuple[Any, Any]:
    """Return mapping, None where there is none, and synthesis."""
    parts = [getattr(made, name, None) for name in ("mapping", "synthesis")]
    if all(callable(part) for part in parts):
        if isinstance(made, nn.Module):
            return _Method(made, "mapping"), _Method(made, "synthesis")
        return parts[0], parts[1]
    if not callable(made):
        raise RunError(
            f"{where}: gives a {type(made).__name__}; expected mapping and synthesis, or a network from z to images. Correct it."
        )
    return None, made


class _Method:
    """A method of a network, which moves with the network."""

    def __init__(self, network: nn.Module, name: str) -> None:
        self.network, self.name = freeze(network), name
        self.z_dim = _width(network)

    def to(self, device: torch.device) -> "_Method":
        self.network.to(device)
        return self

    def __call__(self, given: Tensor) -> Any:
        return getattr(self.network, self.name)(given)


def _width(made: Any) -> int | None:
    width = getattr(made, "z_dim", None)
    return width if isinstance(width, int) and width > 0 else None
