"""A run's first block and its last lines."""

from pathlib import Path

import torch

from insightface_cakd.hosts.embedded.parts import RunResult
from insightface_cakd.recipe import load_recipe
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks.teaching import Measured, Teaching
from insightface_cakd.tasks.telling import beginning, ending, logged_accuracies
from insightface_cakd.teachers import Teacher

MEASURED = [Measured("lfw", 0.9933, 600, 6000)]


def teacher(name="vit", sha256="0123456789abcdef" * 4):
    return Teacher(torch.nn.Identity(), name, 8, "cpu", sha256=sha256)


def test_a_distilled_run_begins_with_recipe_teacher_images_and_weighted_terms():
    recipe = load_recipe("recommended", ["losses.cosine.weight=32"])
    lines = list(
        beginning("recommended", recipe, Teaching({"teacher": teacher()}, {}, {"teacher": MEASURED}), Path("data"))
    )
    assert lines == [
        "distilling with the recipe recommended",
        "  teacher  vit, 99.33 % on lfw, 600 of 6000 pairs, sha256 0123456789ab, runs in every step",
        "  images   data",
        "  terms    32 x cosine",
    ]


def test_a_cached_teacher_is_said_to_be_read():
    recipe = load_recipe("recommended_cached", ["teacher.weights=answers"])
    lines = list(beginning("recommended_cached", recipe, Teaching({"teacher": teacher(sha256=None)}), Path("data")))
    assert lines[1] == "  teacher  vit, read from the cache answers"


def test_a_run_ends_with_accuracy_places_and_the_next_command(tmp_path):
    (tmp_path / "training.log").write_text("")
    assert list(ending(RunResult(accuracy={"lfw": 0.98765}), RunFolder(tmp_path))) == [
        "lfw: 98.77 %",
        f"weights: {tmp_path / 'model.pt'}",
        f"log: {tmp_path / 'training.log'}",
        f"next: cakd export {tmp_path} {tmp_path}.onnx",
    ]


def test_what_a_checkout_measured_last_is_in_its_log(tmp_path):
    line = "Training: 2026-01-01 00:00:00,1-[{}][{}]Accuracy-Flip: {}+-0.00321\n"
    (tmp_path / "training.log").write_text(
        line.format("lfw", 4, "0.91000") + line.format("agedb_30", 4, "0.80000") + line.format("lfw", 8, "0.95500")
    )
    assert logged_accuracies(tmp_path) == {"lfw": 0.955, "agedb_30": 0.8}
    assert logged_accuracies(tmp_path / "nowhere") == {}
