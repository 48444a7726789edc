"""What a run measures: a model, a run's folder or saved embeddings."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import nn

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.ijb.extract import embedding_width, extract, require_few, require_scale
from insightface_cakd.evaluate.ijb.lists import Faces, Tree
from insightface_cakd.evaluate.ijb.presets import Preset
from insightface_cakd.evaluate.ijb.store import (
    META,
    Embeddings,
    Origin,
    faces_sha256,
    is_saved,
    open_saved,
    require_place,
)
from insightface_cakd.networks.entries import Entry, find_entry, title
from insightface_cakd.networks.inference import for_inference
from insightface_cakd.networks.models import Embed, GetModel, network_unknown
from insightface_cakd.networks.onnx import OnnxNetwork, model_sha256
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.runtime.run_folder import MODEL, RUN

EXPECTED = "an .onnx, weights, the output folder of a finished `cakd train`, or saved embeddings"


@dataclass(frozen=True)
class Extraction:
    """What is embedded, and how; both models of mixed enrolment share it.

    Args:
        max_corrupt: number of images that may be corrupt.
    """

    preset: Preset
    tree: Tree
    faces: Faces
    execution: Execution
    max_corrupt: int
    get_model: GetModel


@dataclass(frozen=True)
class ModelOrSaved:
    """A model, or its saved embeddings.

    Args:
        entry: its name, file and network; without a network the file is an .onnx or of embeddings.
        folder: where a model's embeddings are saved.
    """

    entry: Entry
    folder: Path
    extraction: Extraction

    @cached_property
    def model(self) -> Embed:
        """Return the model, loaded once."""
        embed = self.entry.load(self.extraction.get_model, self.extraction.execution.device)
        return for_inference(embed) if isinstance(embed, nn.Module) and not isinstance(embed, OnnxNetwork) else embed

    @cached_property
    def origin(self) -> Origin:
        """Return the origin of a model's embeddings."""
        path, tree, faces = self.entry.path, self.extraction.tree, self.extraction.faces
        return Origin(
            model=self.entry.name if path.name == MODEL else path.name,
            model_sha256=model_sha256(path),
            network=self.entry.network,
            pixels=self.extraction.preset.pixels,
            target=tree.target,
            faces_sha256=faces_sha256(tree, faces),
            count=len(faces.names),
        )

    def width(self) -> int:
        """Return the embedding width, from saved embeddings or one face of zeros."""
        if is_saved(self.entry.path):
            return int(self._opened.plain.shape[1])
        stored = require_place(self.folder, self.origin)
        if stored is not None:
            return int(stored.plain.shape[1])
        require_scale(self.model, self.origin)
        return embedding_width(self.model, self.origin.pixels, self.extraction.execution.device)

    def embeddings(self, progress: Progress | None) -> Embeddings:
        """Return the embeddings of all faces; those saved are not computed again.

        Args:
            progress: called with (faces embedded, faces in all).
        """
        if is_saved(self.entry.path):
            return self._opened
        shared = self.extraction
        tree, faces, execution, limit = shared.tree, shared.faces, shared.execution, shared.max_corrupt
        return extract(lambda: self.model, self.origin, tree, faces, self.folder, execution, limit, progress)

    @cached_property
    def _opened(self) -> Embeddings:
        tree, faces = self.extraction.tree, self.extraction.faces
        found = open_saved(self.entry.path, tree, faces)
        require_few(found.corrupt, faces.names, self.extraction.max_corrupt, tree)
        return found


def find_subject(path: Path, network: str | None, option: str) -> Entry:
    """Return name, file and network of what the user named.

    Args:
        path: an .onnx, weights, the output folder of a run, or saved embeddings, which have no network.
        network: for weights that name none.
    """
    if is_saved(path):
        return Entry(title(path), path)
    if path.is_dir() and not (path / RUN).is_file():
        raise EvaluationError(f"{path}: a folder without {META} or {RUN}; expected {EXPECTED}. Correct the path.")
    entry = replace(find_entry(path, network, EXPECTED), option=option)
    if entry.runtime == "torch" and entry.network is None:
        raise network_unknown(entry.path, option)
    return entry


def require_writable(folder: Path, option: str) -> None:
    """Check before hours of work that a folder can be written."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    fault = "may not be written" if nearest.is_dir() else "is no folder"
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise EvaluationError(
            f"{folder}: cannot be written, {nearest} {fault}; expected a folder, or a place for one. Choose another {option}."
        )
