"""Turns the models that a user names into loadable entries."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from torch import nn

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import EvaluationError
from insightface_cakd.networks.models import Embed, GetModel, load_embedder, require_file
from insightface_cakd.runtime.run_folder import MODEL, RUN, RunFolder

EXPECTED = "an .onnx, weights, or the output folder of a run"


@dataclass(frozen=True)
class Entry:
    """A model to be compared; an .onnx has no network."""

    name: str
    path: Path
    network: str | None = None
    option: str = "--network"

    @property
    def runtime(self) -> str:
        """What runs the model: `onnxruntime` or `torch`."""
        return "onnxruntime" if self.path.suffix.lower() == ".onnx" else "torch"

    @property
    def megabytes(self) -> float:
        """Size of the file, in 10^6 bytes."""
        return self.path.stat().st_size / 1e6

    def load(self, get_model: GetModel, device: torch.device, sides: Sequence[int] = (FACE_SIZE,)) -> Embed:
        """Return a callable that embeds images of one of the sides."""
        return load_embedder(self.path, self.network, get_model, device, self.option, sides)


def read_entries(texts: Sequence[str], network: str | None = None) -> list[Entry]:
    """Return the models named on a command line as `[NAME=]PATH[::NETWORK]`.

    PATH is the output folder of a run, an .onnx or weights. A run's folder names its own network, also for the weights
    inside it; an .onnx contains its own; `network` is that of weights that name none. Without NAME, the name is that of
    the folder or file.
    """
    entries: list[Entry] = []
    for text in texts:
        entry = _entry(text, network)
        if any(entry.name == other.name for other in entries):
            raise EvaluationError(
                f"{text}: another model is called {entry.name}; expected different names. Write NAME={text} for one."
            )
        entries.append(entry)
    return entries


def run_entry(name: str, folder: Path) -> Entry:
    """Return the model of a finished run."""
    run = RunFolder(folder)
    if not run.model.is_file():
        raise EvaluationError(
            f"{folder}: a folder without {MODEL}; expected the output of a finished `cakd train`, an .onnx or weights. "
            "Correct the path."
        )
    return Entry(name, run.model, run.network)


def parameters(entry: Entry, embed: Embed) -> int:
    """Return the number of a model's weights.

    Buffers such as running means are not counted in torch, but in an .onnx, where scalars are not.
    """
    if entry.runtime == "torch" and isinstance(embed, nn.Module):
        return sum(weight.numel() for weight in embed.parameters())
    graph = onnx.load(str(entry.path), load_external_data=False).graph
    return sum(int(torch.Size(tensor.dims).numel()) for tensor in graph.initializer if len(tensor.dims))


def find_entry(path: Path, network: str | None = None, expected: str = EXPECTED) -> Entry:
    """Return the model that a path leads to.

    The path is an .onnx, weights, or the output folder of a run; `network` is that of weights that name none.
    """
    if path.is_dir():
        found = run_entry(title(path), path)
        return replace(found, network=found.network or network)
    require_file(path, expected)
    if path.suffix.lower() == ".onnx":
        return Entry(title(path), path)
    named = RunFolder(path.parent).network if path.name == MODEL else None
    return Entry(title(path), path, named or network)


def title(path: Path) -> str:
    """Return the name of a model, derived from its path.

    It is that of the folder, of the folder around a run's weights, or of the file without its suffix.
    """
    whole = Path(os.path.abspath(path))
    if whole.is_dir():
        return whole.name or "root"
    return whole.parent.name if whole.name == MODEL and whole.parent.name else whole.stem


def _entry(text: str, network: str | None) -> Entry:
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists():
        name, rest = "", text
    place, _, own = rest.partition("::")
    found = find_entry(Path(place))
    found = replace(found, name=name or found.name)
    if found.runtime == "onnxruntime":
        if own:
            raise EvaluationError(
                f"{text}: an .onnx with the network {own}; expected none, an .onnx holds its own. Leave ::{own} off."
            )
        return found
    if own and found.network not in (None, own):
        raise EvaluationError(
            f"{text}: the network {own}, but {found.path.parent / RUN} says {found.network}; expected the same. "
            f"Leave ::{own} off, or name other weights."
        )
    return replace(found, network=found.network or own or network)
