"""A whole IJB run: from a model or saved embeddings to a report."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from insightface_cakd.evaluate.ijb.extract import Running, extract, require_few
from insightface_cakd.evaluate.ijb.lists import Faces, Tree, find_tree, read_faces
from insightface_cakd.evaluate.ijb.mixed import Model, measure_mixed
from insightface_cakd.evaluate.ijb.names import Protocol, Target
from insightface_cakd.evaluate.ijb.presets import Preset, choose_modes, find_preset
from insightface_cakd.evaluate.ijb.report import Subject, markdown, save
from insightface_cakd.evaluate.ijb.run import measure, read_lists
from insightface_cakd.evaluate.ijb.saved import is_saved, open_saved
from insightface_cakd.evaluate.ijb.store import Embeddings, Origin, faces_sha256
from insightface_cakd.evaluate.inference import for_inference
from insightface_cakd.evaluate.models import load_embedder, require_file
from insightface_cakd.evaluate.verification import Embed, Progress
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.devices import choose_device
from insightface_cakd.teachers.onnx import OnnxNetwork
from insightface_cakd.teachers.weights import file_sha256

Show = Callable[[str], AbstractContextManager[Progress | None]]


@dataclass(frozen=True)
class Question:
    """What is to be measured.

    Args:
        model: an .onnx, weights, or saved embeddings.
        root: of the IJB tree.
        target: which set.
        preset: name of the conventions.
        mode: letters, several with commas, `all`, or None for the preset's own.
        protocol: 1:1, 1:N or both.
        out: folder of the report, None for `ijb_result/MODEL_TARGET_PRESET`.
        embeddings: folder where a model's embeddings are saved, None for `OUT/embeddings`.
        network: of weights.
        max_corrupt: so many images may be corrupt.
        enrolled: another model, or its saved embeddings, for mixed enrolment.
        enrolled_network: of that one's weights.
    """

    model: Path
    root: Path
    target: Target = "IJBC"
    preset: str = "eval_ijbc"
    mode: str | None = None
    protocol: Protocol = "auto"
    out: Path | None = None
    embeddings: Path | None = None
    network: str | None = None
    max_corrupt: int = 0
    enrolled: Path | None = None
    enrolled_network: str | None = None

    @property
    def folder(self) -> Path:
        """Return the folder of the report."""
        return self.out or Path("ijb_result") / f"{self.model.stem}_{self.target}_{self.preset}"


def evaluate_ijb(
    question: Question,
    device: str | None = None,
    batch_size: int | None = None,
    workers: int = 2,
    show: Show = lambda _: nullcontext(None),
) -> str:
    """Measure, write the report's folder, and return the report as Markdown.

    Args:
        question: what.
        device: where the model runs, None for the best there is.
        batch_size: faces at a time, None for 8 on a CPU, whose cache they fit in, and 64 elsewhere.
        workers: threads for decoding and templates.
        show: gives, for the name of a part, what is called with (faces or pairs done, in all) for as long as it lasts.

    Raises:
        CAKDError: a list, an image, the model or saved embeddings cannot be used.
    """
    preset = find_preset(question.preset)
    modes = choose_modes(preset, question.mode)
    tree = find_tree(question.root, question.target)
    faces = read_faces(tree)
    lists = read_lists(tree, faces, question.protocol)
    found = _embeddings(question, preset, tree, faces, device, batch_size, workers, show)
    if question.enrolled is not None:
        asked = replace(
            question,
            model=question.enrolled,
            network=question.enrolled_network,
            embeddings=question.folder / "embeddings_enrolled",
        )
        other = _embeddings(asked, preset, tree, faces, device, batch_size, workers, show)
        teacher, student = Model(asked.model.stem, other), Model(question.model.stem, found)
        with show(f"{question.target} pairs") as progress:
            return measure_mixed(
                teacher, student, lists, preset, modes, question.target, question.folder, workers, progress
            )
    with show(f"{question.target} pairs") as progress:
        measured = measure(found, lists, preset, modes, workers, progress)
    subject = Subject(question.model.stem, question.target, preset, found.pixels, faces.by_name(found.corrupt))
    save(question.folder, subject, measured)
    return markdown(subject, measured)


def _embeddings(
    question: Question,
    preset: Preset,
    tree: Tree,
    faces: Faces,
    device: str | None,
    batch_size: int | None,
    workers: int,
    show: Show,
) -> Embeddings:
    """Return a model's embeddings: those that the question names, or of the model that it names."""
    if is_saved(question.model):
        found = open_saved(question.model, tree, faces)
        require_few(found.corrupt, faces.names, question.max_corrupt, tree)
        return found
    with show(f"{question.target} faces") as progress:
        return embed_faces(question, preset, tree, faces, device, batch_size, workers, progress)


def embed_faces(
    question: Question,
    preset: Preset,
    tree: Tree,
    faces: Faces,
    device: str | None,
    batch_size: int | None,
    workers: int,
    progress: Progress | None,
) -> Embeddings:
    """Return the embeddings of a set by a model, from where they are saved as far as they are there.

    Args:
        question: which model, and where its embeddings are saved.
        preset: says how images are scaled.
        tree: where the pictures are.
        faces: rows in their order.
        device: where the model runs, None for the best there is.
        batch_size: faces at a time, None for 8 on a CPU, whose cache they fit in, and 64 elsewhere.
        workers: threads for decoding.
        progress: called with (faces embedded, faces in all).

    Raises:
        CAKDError: the model or a picture cannot be used, or the embeddings saved are of something else.
    """
    require_file(question.model, "an .onnx, weights, or saved embeddings")
    where = choose_device(device)
    return extract(
        lambda: _load(question, where),
        _origin(question, preset, tree, faces),
        tree,
        faces,
        question.embeddings or question.folder / "embeddings",
        Running(where, batch_size or (8 if where.type == "cpu" else 64), workers, question.max_corrupt),
        progress,
    )


def _origin(question: Question, preset: Preset, tree: Tree, faces: Faces) -> Origin:
    return Origin(
        model=question.model.name,
        model_sha256=file_sha256(question.model),
        network=question.network,
        pixels=preset.pixels,
        target=tree.target,
        faces_sha256=faces_sha256(tree, faces),
        count=len(faces.names),
    )


def _load(question: Question, device: torch.device) -> Embed:
    embed = load_embedder(question.model, question.network, get_model, device)
    return for_inference(embed) if isinstance(embed, nn.Module) and not isinstance(embed, OnnxNetwork) else embed
