"""An IJB run from a model or saved embeddings to a report."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces
from insightface_cakd.evaluate.ijb.measure import measure, read_lists
from insightface_cakd.evaluate.ijb.mixed import MixedIjb, Model, measure_mixed
from insightface_cakd.evaluate.ijb.presets import Mode, Preset, Protocol, Target, choose_modes, find_preset
from insightface_cakd.evaluate.ijb.report import IjbResult, Subject, save
from insightface_cakd.evaluate.ijb.store import Embeddings, is_saved
from insightface_cakd.evaluate.ijb.subjects import Extraction, ModelOrSaved, find_subject, require_writable
from insightface_cakd.evaluate.mixed.mixed import require_one_width
from insightface_cakd.networks.entries import Entry, title
from insightface_cakd.networks.models import GetModel
from insightface_cakd.runtime.folder_lock import only_writer
from insightface_cakd.runtime.ranks import rank


@dataclass(frozen=True)
class Question:
    """What to measure.

    Args:
        model: an .onnx, weights, the output folder of a run, or saved embeddings.
        mode: letters such as N1D1F1, several separated by commas, `all`, or None for the preset's own.
        out: folder of the report, None for `ijb_result/MODEL_TARGET_PRESET`.
        embeddings: folder where a model's embeddings are saved, None for `OUT/embeddings`.
        network: name of the network of weights; a run's folder gives its own.
        max_corrupt: number of images that may be corrupt.
        enrolled: another model that embeds what is enrolled (mixed enrolment).
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
        return self.out or Path("ijb_result") / f"{title(self.model)}_{self.target}_{self.preset}"


def evaluate_ijb(question: Question, get_model: GetModel, execution: Execution) -> IjbResult | MixedIjb | None:
    """Measure, and write the folder of the report.

    All ranks of a group embed their part of the faces. The first one measures; the others return None.
    """
    if question.enrolled is None and question.enrolled_network is not None:
        raise EvaluationError(
            f"--enrolled-network {question.enrolled_network}: there is no --enrolled; expected both or none. Give --enrolled, "
            "or --network if it is the model's."
        )
    preset = find_preset(question.preset)
    modes = choose_modes(preset, question.mode)
    entries = _entries(question)
    with only_writer(question.folder, EvaluationError) if rank() == 0 else nullcontext():
        return _evaluate(question, preset, modes, entries, get_model, execution)


def _evaluate(
    question: Question,
    preset: Preset,
    modes: Sequence[Mode],
    entries: Sequence[tuple[Entry, Path]],
    get_model: GetModel,
    execution: Execution,
) -> IjbResult | MixedIjb | None:
    tree = find_tree(question.root, question.target)
    faces = read_faces(tree, execution.workers)
    lists = read_lists(tree, faces, question.protocol, execution.workers)
    extraction = Extraction(preset, tree, faces, execution, question.max_corrupt, get_model)
    models = [ModelOrSaved(entry, folder, extraction) for entry, folder in entries]
    # The deployed model comes first in errors about both.
    if len(models) == 2:
        require_one_width(*((model.entry.name, model.width()) for model in reversed(models)))
    found = [_embed(model, f"{question.target} faces") for model in models]
    if rank() != 0:
        return None
    with execution.bar(f"{question.target} pairs") as progress:
        if len(models) == 2:
            student, teacher = (Model(model.entry.name, rows) for model, rows in zip(models, found, strict=True))
            return measure_mixed(
                teacher, student, lists, preset, modes, question.target, question.folder, execution.workers, progress
            )
        measured = measure(found[0], lists, preset, modes, execution.workers, progress)
    corrupt = faces.by_name(found[0].corrupt)
    result = IjbResult(Subject(models[0].entry.name, question.target, preset, found[0].pixels, corrupt), measured)
    save(question.folder, result)
    return result


def faces_at_a_time(device: torch.device) -> int:
    """Return a good batch size; a CPU's cache holds 8 faces."""
    return 8 if device.type == "cpu" else 64


def _entries(question: Question) -> list[tuple[Entry, Path]]:
    """Check and return the models, and where their embeddings are saved."""
    require_writable(question.folder, "--output")
    own = question.embeddings or question.folder / "embeddings"
    require_writable(own.parent, "--embeddings")
    found = [(find_subject(question.model, question.network, "--network"), own)]
    if question.enrolled is not None:
        other = find_subject(question.enrolled, question.enrolled_network, "--enrolled-network")
        found.append((other, question.folder / "embeddings_enrolled"))
    return found


def _embed(model: ModelOrSaved, what: str) -> Embeddings:
    if is_saved(model.entry.path):
        return model.embeddings(None)
    with model.extraction.execution.bar(what) as progress:
        return model.embeddings(progress)
