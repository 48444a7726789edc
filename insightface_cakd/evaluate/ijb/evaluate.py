"""A whole IJB run: from a model or saved embeddings to a report."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.extract import Running
from insightface_cakd.evaluate.ijb.lists import Faces, Tree, find_tree, read_faces
from insightface_cakd.evaluate.ijb.mixed import MixedIjb, Model, measure_mixed
from insightface_cakd.evaluate.ijb.names import Protocol, Target
from insightface_cakd.evaluate.ijb.presets import Preset, choose_modes, find_preset
from insightface_cakd.evaluate.ijb.report import IjbResult, Subject, save
from insightface_cakd.evaluate.ijb.run import measure, read_lists
from insightface_cakd.evaluate.ijb.saved import is_saved
from insightface_cakd.evaluate.ijb.sides import Side, Task, find_entry, require_writable, title
from insightface_cakd.evaluate.ijb.store import Embeddings
from insightface_cakd.evaluate.mixed.mixed import require_one_width
from insightface_cakd.networks.entries import Entry
from insightface_cakd.networks.models import GetModel, require_file
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.runtime.progress import Progress

Show = Callable[[str], AbstractContextManager[Progress | None]]


@dataclass(frozen=True)
class Question:
    """What is to be measured.

    Args:
        model: an .onnx, weights, the output folder of a run, or saved embeddings.
        root: of the IJB tree.
        target: which set.
        preset: name of the conventions.
        mode: letters, several with commas, `all`, or None for the preset's own.
        protocol: 1:1, 1:N or both.
        out: folder of the report, None for `ijb_result/MODEL_TARGET_PRESET`.
        embeddings: folder where a model's embeddings are saved, None for `OUT/embeddings`.
        network: of weights; a run's folder names its own.
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
        return self.out or Path("ijb_result") / f"{title(self.model)}_{self.target}_{self.preset}"


def evaluate_ijb(
    question: Question,
    get_model: GetModel,
    device: str | None = None,
    batch_size: int | None = None,
    workers: int = 2,
    show: Show = lambda _: nullcontext(None),
) -> IjbResult | MixedIjb:
    """Measure, and write the report's folder.

    Args:
        question: what.
        get_model: the host's factory, for weights.
        device: where the model runs, None for the best there is.
        batch_size: faces at a time, None for 8 on a CPU, whose cache they fit in, and 64 elsewhere.
        workers: threads for decoding and templates.
        show: gives, for the name of a part, what is called with (faces or pairs done, in all) for as long as it lasts.

    Raises:
        CAKDError: a list, an image, the model or saved embeddings cannot be used.
    """
    if question.enrolled is None and question.enrolled_network is not None:
        raise EvaluationError(
            f"--enrolled-network {question.enrolled_network}: there is no --enrolled; expected both or none. Give --enrolled, "
            "or --network if it is the model's."
        )
    preset = find_preset(question.preset)
    modes = choose_modes(preset, question.mode)
    entries = _entries(question)
    tree = find_tree(question.root, question.target)
    faces = read_faces(tree)
    lists = read_lists(tree, faces, question.protocol)
    task = Task(preset, tree, faces, _running(question, device, batch_size, workers), get_model)
    sides = [Side(entry, folder, option, task) for entry, folder, option in entries]
    # The deployed model comes first in errors about both.
    if len(sides) == 2:
        require_one_width(*((side.entry.name, side.width()) for side in reversed(sides)))
    found = [_embed(side, question, show) for side in sides]
    with show(f"{question.target} pairs") as progress:
        if len(sides) == 2:
            student, teacher = (Model(side.entry.name, rows) for side, rows in zip(sides, found, strict=True))
            return measure_mixed(
                teacher, student, lists, preset, modes, question.target, question.folder, workers, progress
            )
        measured = measure(found[0], lists, preset, modes, workers, progress)
    corrupt = faces.by_name(found[0].corrupt)
    subject = Subject(sides[0].entry.name, question.target, preset, found[0].pixels, corrupt)
    result = IjbResult(subject, measured)
    save(question.folder, result)
    return result


def _entries(question: Question) -> list[tuple[Entry, Path, str]]:
    """Return the models, where their embeddings are saved, and the option of their network; check all of it."""
    require_writable(question.folder, "--out")
    own = question.embeddings or question.folder / "embeddings"
    require_writable(own.parent, "--embeddings")
    found = [(find_entry(question.model, question.network, "--network"), own, "--network")]
    if question.enrolled is not None:
        option = "--enrolled-network"
        other = find_entry(question.enrolled, question.enrolled_network, option)
        found.append((other, question.folder / "embeddings_enrolled", option))
    return found


def _running(question: Question, device: str | None, batch_size: int | None, workers: int) -> Running:
    where = choose_device(device)
    return Running(where, batch_size or (8 if where.type == "cpu" else 64), workers, question.max_corrupt)


def _embed(side: Side, question: Question, show: Show) -> Embeddings:
    if is_saved(side.entry.path):
        return side.embeddings(None)
    with show(f"{question.target} faces") as progress:
        return side.embeddings(progress)


def embed_faces(
    question: Question,
    get_model: GetModel,
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
        get_model: the host's factory, for weights.
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
    entry = find_entry(question.model, question.network, "--network")
    require_file(entry.path, "an .onnx, or weights")
    task = Task(preset, tree, faces, _running(question, device, batch_size, workers), get_model)
    return Side(entry, question.embeddings or question.folder / "embeddings", "--network", task).embeddings(progress)
