"""Model cards: what they say of a run's export, and of a file that says little."""

import json

import pytest
import torch

from insightface_cakd.api.exporting import export
from insightface_cakd.errors import ExportError
from insightface_cakd.export.card import LANDMARKS, RECOGNISER, card_beside, card_text, write_card
from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.weights import file_sha256
from tests.evaluate.runs import write_run
from tests.export.networks import settle, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A distilled run of cnn_tiny, whose teacher was measured."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", distilled=True)
    facts = json.loads((folder / "run.json").read_text())
    facts["config"] |= {"rec": "/home/anna/private/faces", "num_image": 5338, "num_classes": 1000}
    facts["teacher"] |= {"licence": "research only", "sets": {"dev": 0.9933}}
    (folder / "run.json").write_text(json.dumps(facts))
    torch.manual_seed(0)
    torch.save(settle(get_model("cnn_tiny")).state_dict(), folder / "model.pt")
    return folder


def sections(card: str) -> dict[str, str]:
    """The text below each heading."""
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1].strip() for part in card.split("## ")[1:]}


def test_the_card_of_a_run_says_data_recipe_teacher_accuracy_and_licence(run, tmp_path):
    done = export(run, tmp_path / "student.onnx")
    assert done.card == card_beside(done.path) == tmp_path / "student.card.md"
    assert str(done).endswith(f"card: {done.card}")
    text = done.card.read_text()
    assert text.startswith("# student\n")
    assert f"* sha256: {file_sha256(done.path)}" in text
    said = sections(text)
    assert list(said) == ["Training", "Accuracy", "Licence", "Limits"]
    for fact in (
        "num_image: 5338",
        "num_classes: 1000",
        "data: faces",
        "seed: 2048",
        "recipe: cosine",
        "terms: cosine x 64",
    ):
        assert f"* {fact}\n" in said["Training"] + "\n"
    assert f"teacher's sha256: {'ab' * 32}" in said["Training"]
    row = next(line for line in said["Accuracy"].splitlines() if line.startswith("| dev"))
    assert "0.8300 (ten folds" in row
    assert "0.9933 (some hundred pairs)" in row
    assert done.measured in said["Accuracy"]
    assert said["Licence"].startswith("The teacher's licence: research only. Use: non-commercial research unless")
    assert said["Limits"].count("\n* ") + 1 == len(RECOGNISER)
    assert "anna" not in text, "no path of the machine it was trained on"


def test_a_second_export_replaces_the_card(run, tmp_path):
    (tmp_path / "student.card.md").write_text("their own notes")
    assert "their own notes" not in export(run, tmp_path / "student.onnx").card.read_text()


def test_what_a_file_does_not_say_is_not_stated(tmp_path):
    export_onnx(trained(), tmp_path / "bare.onnx", {})
    write_card(tmp_path / "bare.onnx", tmp_path / "card.md", "bare")
    text = (tmp_path / "card.md").read_text()
    said = sections(text)
    assert said["Training"] == "* settings: not stated"
    assert said["Accuracy"] == "Not measured in training."
    assert said["Licence"] == "Use: not stated."
    assert "teacher" not in text.split("## Limits")[0]


def test_a_recipe_without_a_term_and_landmarks_have_their_own_words():
    said = {"teacher": "anna", "recipe": "[]"}
    text = card_text("title", said, {"size": "1 MB"}, "", LANDMARKS)
    assert "* terms: none beside the head's\n" in text
    assert "threshold" not in text
    assert "box of a detector" in text


def test_a_card_that_cannot_be_written_is_refused_by_name(tmp_path):
    export_onnx(trained(), tmp_path / "bare.onnx", {})
    (tmp_path / "card.md").mkdir()
    with pytest.raises(ExportError, match=r"card\.md"):
        write_card(tmp_path / "bare.onnx", tmp_path / "card.md", "bare")
