"""From a run's folder, or weights, to a checked file that knows where it comes from."""

import json

import onnxruntime
import pytest
import torch
from torch import nn

from insightface_cakd import __version__
from insightface_cakd.errors import EvaluationError, ExportError, RunError
from insightface_cakd.export.student import export_checked, export_run
from insightface_cakd.networks.models import load_onnx
from tests.evaluate.runs import write_run
from tests.export.networks import WIDTH, get_model, trained
from tests.teachers.faces import as_input, faces


def finished_run(folder, distilled=True):
    """Return a run of the network `small`, with its weights."""
    run = write_run(folder, distilled)
    facts = json.loads((run / "run.json").read_text())
    facts["config"]["network"] = "small"
    (run / "run.json").write_text(json.dumps(facts))
    saved(run)
    return run


def saved(folder):
    """Write the weights of `trained`."""
    torch.save(trained().state_dict(), folder / "model.pt")
    return folder / "model.pt"


def said(path) -> dict[str, str]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map


def test_a_run_becomes_a_file_that_embeds_as_its_student(tmp_path):
    report = export_run(finished_run(tmp_path / "run"), tmp_path / "new" / "student.onnx", get_model)
    assert report.path == tmp_path / "new" / "student.onnx"
    assert report.width == WIDTH
    images = as_input(faces(4))
    embed = load_onnx(report.path, torch.device("cpu"))
    torch.testing.assert_close(embed(images), trained().eval()(images).detach(), rtol=1e-4, atol=1e-5)
    assert [file.name for file in report.path.parent.iterdir()] == ["student.onnx"]


def test_the_file_of_a_distilled_student_names_recipe_teacher_and_terms_of_use(tmp_path):
    export_run(finished_run(tmp_path / "run"), tmp_path / "student.onnx", get_model)
    facts = said(tmp_path / "student.onnx")
    assert facts["recipe_name"] == "cosine"
    assert json.loads(facts["recipe"]) == [{"loss": "cosine", "name": "cosine", "weight": 64.0}]
    assert facts["teacher"] == "vit_tiny"
    assert facts["teacher_sha256"] == "ab" * 32
    assert facts["teacher_licence"] == "not stated"
    assert facts["network"] == "small"
    assert facts["producer"].startswith(f"insightface_cakd {__version__}, torch ")
    assert facts["parameters"] == str(sum(parameter.numel() for parameter in trained().parameters()))
    assert (facts["training_seed"], facts["training_batch_size"], facts["training_ranks"]) == ("2048", "64", "1")
    assert facts["accuracy_dev"] == "0.8300 (ten folds, image + mirror image)"
    assert "(x - 127.5) / 127.5 outside the graph" in facts["input_contract"]
    assert facts["usage"].startswith("non-commercial research unless")


def test_the_file_of_a_student_alone_names_no_teacher(tmp_path):
    export_run(finished_run(tmp_path / "run", distilled=False), tmp_path / "student.onnx", get_model)
    assert not {key for key in said(tmp_path / "student.onnx") if key.startswith(("teacher", "recipe"))}


def test_bare_weights_can_be_exported_by_the_name_of_their_network(tmp_path):
    export_run(saved(tmp_path), tmp_path / "student.onnx", get_model, network="small")
    assert said(tmp_path / "student.onnx")["network"] == "small"


def test_a_run_on_a_checkout_is_exported_without_a_result(tmp_path):
    run = finished_run(tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "host": {"version": "pinned"}}))
    (run / "result.json").unlink()
    export_run(run, tmp_path / "student.onnx", get_model)
    assert not [key for key in said(tmp_path / "student.onnx") if key.startswith("accuracy")]


class TestMistakes:
    def test_weights_of_an_unnamed_network(self, tmp_path):
        with pytest.raises(ExportError, match=r"which network .* is not known; .*Pass --network"):
            export_run(saved(tmp_path), tmp_path / "student.onnx", get_model)

    @pytest.mark.parametrize("missing", ["run.json", "result.json"])
    def test_a_run_that_did_not_finish(self, tmp_path, missing):
        run = finished_run(tmp_path / "run")
        (run / missing).unlink()
        with pytest.raises(RunError, match=f"run: holds no {missing}; expected the output folder of a finished"):
            export_run(run, tmp_path / "student.onnx", get_model)

    def test_a_run_whose_facts_are_damaged(self, tmp_path):
        run = finished_run(tmp_path / "run")
        (run / "run.json").write_text("{")
        with pytest.raises(RunError, match=r"run/run.json: not JSON \(.*\); expected what `cakd train` wrote"):
            export_run(run, tmp_path / "student.onnx", get_model)

    def test_a_run_that_names_a_teacher_but_not_its_file(self, tmp_path):
        run = finished_run(tmp_path / "run")
        facts = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**facts, "teacher": {"name": "anna"}}))
        with pytest.raises(
            RunError, match=r"run/run.json: teacher.sha256: field required; expected what `cakd train` wrote"
        ):
            export_run(run, tmp_path / "student.onnx", get_model)

    def test_a_run_without_weights(self, tmp_path):
        run = finished_run(tmp_path / "run")
        (run / "model.pt").unlink()
        with pytest.raises(EvaluationError, match=r"model.pt: does not exist; expected the weights of small"):
            export_run(run, tmp_path / "student.onnx", get_model)

    def test_a_destination_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ExportError, match=r"export .*file/student.onnx: cannot be written \("):
            export_checked(trained(), tmp_path / "file" / "student.onnx", {})


def test_a_run_of_a_version_that_kept_no_recipe_s_name(tmp_path):
    run = finished_run(tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    del facts["recipe_name"]
    (run / "run.json").write_text(json.dumps(facts))
    export_run(run, tmp_path / "student.onnx", get_model)
    assert said(tmp_path / "student.onnx")["recipe_name"] == "not stated"


def test_a_file_that_fails_the_check_never_takes_the_place_of_a_good_one(tmp_path):
    class TwoAtATime(nn.Module):
        """Gives two rows for any number of images."""

        def forward(self, images):
            return images.reshape(2, -1)[:, :8]

    (tmp_path / "student.onnx").write_bytes(b"good")
    with pytest.raises(ExportError, match=r"export student.onnx: TwoAtATime gives \(2, 8\) for 1 images"):
        export_checked(TwoAtATime(), tmp_path / "student.onnx", {})
    assert (tmp_path / "student.onnx").read_bytes() == b"good"
    assert [file.name for file in tmp_path.iterdir()] == ["student.onnx"]
