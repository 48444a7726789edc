"""What the user names becomes models with a name, a size and a way to run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

from insightface_cakd.errors import EvaluationError
from insightface_cakd.networks.models import Embed, GetModel, load_embedder, require_file
from insightface_cakd.runtime.run_folder import MODEL, RUN, RunFolder


@dataclass(frozen=True)
class Entry:
    """A model to be compared.

    Args:
        name: in the table.
        path: an .onnx or weights.
        network: of weights.
    """

    name: str
    path: Path
    network: str | None = None

    @property
    def runtime(self) -> str:
        """What runs it."""
        return "onnxruntime" if self.path.suffix.lower() == ".onnx" else "torch"

    @property
    def megabytes(self) -> float:
        """Size of the file, in 10^6 bytes."""
        return self.path.stat().st_size / 1e6

    def load(self, get_model: GetModel, device: torch.device) -> Embed:
        """Return what embeds images.

        Args:
            get_model: the host's factory.
            device: where it runs.

        Raises:
            EvaluationError: the file is damaged, or of another network.
        """
        return load_embedder(self.path, self.network, get_model, device)


def read_entries(texts: Sequence[str], network: str | None = None) -> list[Entry]:
    """Return the models of a command line.

    Args:
        texts: each `[NAME=]PATH[::NETWORK]`: the output folder of a run, an .onnx, or weights. A run's folder names its own
            network, for the weights in it too, and so does an .onnx. Without a name, it is that of the folder or file.
        network: of weights that name none.

    Raises:
        EvaluationError: no such file, a folder that is no run, two models of one name, or a network that is not that of the
            run or .onnx.
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
    """Return the model of a finished run.

    Args:
        name: in the table.
        folder: output of the run.

    Raises:
        EvaluationError: it holds no weights.
        RunError: `run.json` is damaged.
    """
    run = RunFolder(folder)
    if not run.model.is_file():
        raise EvaluationError(
            f"{folder}: a folder without {MODEL}; expected the output of a finished `cakd train`, an .onnx or weights. "
            "Correct the path."
        )
    return Entry(name, run.model, run.network)


def parameters(entry: Entry, embed: Embed) -> int:
    """Return the number of a model's weights, buffers such as running means left out in torch.

    Args:
        entry: the model.
        embed: it, loaded.
    """
    if entry.runtime == "torch" and isinstance(embed, nn.Module):
        return sum(weight.numel() for weight in embed.parameters())
    graph = onnx.load(str(entry.path), load_external_data=False).graph
    return sum(int(torch.Size(tensor.dims).numel()) for tensor in graph.initializer if len(tensor.dims))


def _entry(text: str, network: str | None) -> Entry:
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists():
        name, rest = "", text
    place, _, own = rest.partition("::")
    path = Path(place)
    if path.is_dir():
        found = run_entry(name or path.name, path)
        return Entry(found.name, found.path, _agreed(text, own, found.network, path) or network)
    require_file(path, "an .onnx, weights, or the output folder of a run")
    title = name or (path.parent.name if path.name == MODEL and path.parent.name else path.stem)
    if path.suffix.lower() == ".onnx":
        if own:
            raise EvaluationError(
                f"{text}: an .onnx with the network {own}; expected none, an .onnx holds its own. Leave ::{own} off."
            )
        return Entry(title, path)
    named = RunFolder(path.parent).network if path.name == MODEL else None
    return Entry(title, path, _agreed(text, own, named, path.parent) or network)


def _agreed(text: str, own: str, named: str | None, folder: Path) -> str | None:
    """Return the network of a run's weights, or of bare ones: as the user wrote it, or as the run says, which must agree."""
    if own and named and own != named:
        raise EvaluationError(
            f"{text}: the network {own}, but {folder / RUN} says {named}; expected the same. "
            f"Leave ::{own} off, or name other weights."
        )
    return own or named
