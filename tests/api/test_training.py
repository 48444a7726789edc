"""`cakd.train`, `evaluate` and `export`: a run from Python, and what each of them says of it."""

import numpy as np
import onnx
import pytest

import insightface_cakd as cakd
from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import EvaluationError, ExportError, RunError
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.runtime.run_folder import RunFolder
from tests.commands import SMALL


@pytest.fixture(scope="module")
def runs(face_set, tmp_path_factory):
    """A teacher, a student that changed its recipe, and their data; not to be written to."""
    folder = tmp_path_factory.mktemp("runs")
    short = {**SMALL, "val_targets": ["dev"]}
    teacher = cakd.train("faces_vit_tiny", data=face_set, output=folder / "teacher", **short)
    changes = {"losses.cosine.weight": 32}
    student = cakd.train(
        "faces_cnn_tiny", "cosine", data=face_set, output=folder / "student", teacher=teacher, changes=changes, **short
    )
    return teacher, student, face_set / "dev.bin"


def test_a_run_is_its_folder(runs):
    teacher, student, _ = runs
    assert isinstance(student, RunFolder)
    assert (student.config["network"], student.config["batch_size"]) == ("cnn_tiny", 12)
    assert [(term["name"], term["weight"]) for term in student.terms] == [("cosine", 32)]
    assert student.teacher.name == "vit_tiny"
    assert student.recipe["teacher"]["weights"] == str(teacher.path)
    assert f"<RunFolder {student.path}: cnn_tiny; dev {100 * student.result.accuracy['dev']:.2f} %>" == repr(student)


def test_evaluate_gives_what_the_run_measured(runs):
    _, student, dev = runs
    found = cakd.evaluate(student, dev, device="cpu")
    assert found.facts()[0]["accuracy"] == pytest.approx(student.result.accuracy["dev"])
    loaded = cakd.load(student, device="cpu")
    assert found.facts()[0]["accuracy"] == verify(loaded.network, load_bin(dev)).accuracy
    assert cakd.evaluate(loaded, [dev], device="cpu").facts() == found.facts()
    assert str(found).startswith("| set |")


def test_evaluate_takes_the_options_of_a_protocol_and_no_others(runs):
    _, student, dev = runs
    assert [one["variant"] for one in cakd.evaluate(student, dev, variant=["plain", "masked"]).facts()] == [
        "plain",
        "masked",
    ]
    with pytest.raises(EvaluationError, match=r"varant is no option of it; .* Did you mean 'variant'\?"):
        cakd.evaluate(student, dev, varant=["masked"])


def test_an_exported_model_embeds_alike_and_says_where_it_comes_from(runs, tmp_path):
    _, student, _ = runs
    loaded = cakd.load(student, device="cpu")
    done = cakd.export(loaded, tmp_path / "student.onnx")
    assert done.path == tmp_path / "student.onnx"
    assert "insightface.model_zoo" in str(done)
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    assert cakd.load(done.path).embed(faces) == pytest.approx(loaded.embed(faces), abs=1e-3)
    said = {one.key: one.value for one in onnx.load(str(done.path)).metadata_props}
    assert (said["recipe_name"], said["teacher"]) == ("cosine", "vit_tiny")
    with pytest.raises(ExportError, match=r"expected a name that ends in \.onnx"):
        cakd.export(student, tmp_path / "student.pt")


def test_a_config_has_no_key_of_this_name(face_set, tmp_path):
    with pytest.raises(RunError, match=r"the config has no key 'num_epochs'; .*Did you mean 'num_epoch'\?"):
        cakd.train("faces_cnn_tiny", data=face_set, output=tmp_path / "out", num_epochs=3)


def test_without_an_output_the_folder_is_the_configs(face_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = cakd.train("faces_cnn_tiny", data=face_set, **SMALL)
    assert run.model.is_file()
    assert run.path.resolve().is_relative_to(tmp_path / "work_dirs")
