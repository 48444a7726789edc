"""Model cards: what a model is, its origin, its limits."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from insightface_cakd.errors import ExportError
from insightface_cakd.networks.weights import file_sha256
from insightface_cakd.report.tables import markdown_table
from insightface_cakd.runtime.atomic import write_text

# Name of the card in a folder; beside a file, its stem and the ending.
CARD, ENDING = "README.md", ".card.md"
# Beginnings of metadata keys, and what the card calls them.
_ACCURACY, _TEACHER_ACCURACY, _TRAINING = "accuracy_", "teacher_accuracy_", "training_"
_MEASURE = (
    "Accuracy is that of the sets above: photos of another age, light, camera or group of people may give another one."
)
RECOGNISER = (
    f"{_MEASURE} Measure it on your own: `cakd eval bin MODEL SETS`.",
    "A threshold is not part of it: choose one on pairs of your own, at the false accept rate that you can bear, anew for each precision.",
    "Embeddings of two models are not comparable, unless one was taught the other's: `cakd eval mixed TEACHER STUDENT SETS` measures that.",
    "It takes aligned faces: detection and alignment come before it, and it says nothing of whether a face is live.",
)
LANDMARKS = (
    f"{_MEASURE} Measure it on your own: `cakd eval landmarks MODEL FOLDER`.",
    "It takes the box of a detector, and answers for any image: nothing says whether there is a face in it.",
)


def write_card(model: Path, card: Path, title: str, measured: str = "", limits: Sequence[str] = RECOGNISER) -> None:
    """Write the card of an exported model from its file.

    The file's metadata hold network, data, recipe, teacher and accuracy; what they do not say, the card calls not stated.

    Args:
        model: the .onnx file.
        card: the Markdown file to write; replaced if it exists.
        title: first line of the card.
        measured: what the export measured, printed as it is.
        limits: sentences on what it cannot do, and what was not measured.

    Raises:
        ExportError: the card cannot be written.
    """
    said = {one.key: one.value for one in onnx.load(str(model), load_external_data=False).metadata_props}
    write_text(card, card_text(title, said, _file_facts(model), measured, limits), ExportError)


def card_beside(model: Path) -> Path:
    """Return the path of the card of a single file: `student.card.md`."""
    return model.with_name(model.stem + ENDING)


def card_text(
    title: str, said: Mapping[str, str], file: Mapping[str, str], measured: str, limits: Sequence[str]
) -> str:
    """Return a card as Markdown: facts, training, accuracy, licence, limits.

    Args:
        title: first line of the card.
        said: metadata of the exported file, see `provenance`.
        file: further facts of the file, by name.
        measured: what the export measured, printed as it is; nothing when empty.
        limits: sentences.
    """
    parts = [f"# {title}", _purpose(said), _listed({**file, **_facts(said)})]
    parts += ["## Training", _listed(_training(said)), "## Accuracy", _accuracy(said)]
    if measured:
        parts += ["As exported:", f"```text\n{measured}\n```"]
    parts += ["## Licence", _licence(said), "## Limits", "\n".join(f"* {limit}" for limit in limits)]
    return "\n\n".join(parts) + "\n"


def _file_facts(model: Path) -> dict[str, str]:
    return {"size": f"{model.stat().st_size / 1e6:.2f} MB", "sha256": file_sha256(model)}


def _purpose(said: Mapping[str, str]) -> str:
    taught = f" It was taught by {said['teacher']}." if "teacher" in said else ""
    return f"A student network for InsightFace, written by {said.get('producer', 'an unknown program')}.{taught}"


def _facts(said: Mapping[str, str]) -> dict[str, str]:
    names = {
        "network": "network",
        "parameters": "parameters",
        "precision": "precision",
        "embedding_prefix": "numbers of the embedding",
        "input_contract": "input and output",
    }
    return {name: said[key] for key, name in names.items() if key in said}


def _training(said: Mapping[str, str]) -> dict[str, str]:
    facts = {key.removeprefix(_TRAINING): value for key, value in said.items() if key.startswith(_TRAINING)}
    if "teacher" not in said:
        return facts or {"settings": "not stated"}
    terms = json.loads(said["recipe"]) if "recipe" in said else []
    return facts | {
        "recipe": said.get("recipe_name", "not stated"),
        "terms": ", ".join(f"{term['name']} x {term['weight']:g}" for term in terms) or "none beside the head's",
        "teacher": said["teacher"],
        "teacher's sha256": said.get("teacher_sha256", "not stated"),
    }


def _accuracy(said: Mapping[str, str]) -> str:
    lines = [
        {
            "set": key.removeprefix(_ACCURACY),
            "student": value,
            "teacher": said.get(_TEACHER_ACCURACY + key.removeprefix(_ACCURACY), "not measured"),
        }
        for key, value in said.items()
        if key.startswith(_ACCURACY)
    ]
    return markdown_table(lines) if lines else "Not measured in training."


def _licence(said: Mapping[str, str]) -> str:
    teacher = f"The teacher's licence: {said.get('teacher_licence', 'not stated')}. " if "teacher" in said else ""
    return f"{teacher}Use: {said.get('usage', 'not stated')}."


def _listed(facts: Mapping[str, str]) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in facts.items())
