"""What a run left behind is read once, strictly, without torch."""

import json
import subprocess
import sys

import pytest

from insightface_cakd.errors import RunError
from insightface_cakd.runtime.run_folder import RESULT, RUN, RunFolder
from tests.evaluate.runs import write_run


def test_a_distilled_run_says_what_it_is(tmp_path):
    run = RunFolder(write_run(tmp_path, distilled=True))
    assert run.finished
    assert (run.model, run.network, run.config["seed"]) == (tmp_path / "model.pt", "cnn_tiny", 2048)
    assert (run.teacher.name, run.teacher.accuracy, run.saved.recipe_name) == ("vit_tiny", 0.91, "cosine")
    assert run.recipe["losses"] == run.terms
    assert (run.result.accuracy, run.result.steps) == ({"dev": 0.83}, 60)


def test_a_run_without_a_teacher_has_no_recipe(tmp_path):
    run = RunFolder(write_run(tmp_path))
    assert (run.recipe, run.terms, run.teacher) == (None, [], None)
    assert not {"teacher", "terms"} & set(run.facts())


def test_a_folder_that_holds_nothing_says_nothing(tmp_path):
    run = RunFolder(tmp_path)
    assert (run.finished, run.network, run.facts()) == (False, None, {})
    with pytest.raises(RunError, match=r"holds no run\.json; expected the output folder of a finished `cakd train`"):
        run.require(RUN)


def test_a_file_is_read_once(tmp_path):
    run = RunFolder(write_run(tmp_path))
    assert run.network == "cnn_tiny"
    (tmp_path / RUN).unlink()
    assert run.network == "cnn_tiny"


def test_what_is_written_is_read(tmp_path):
    RunFolder(tmp_path).write({"config": {"network": "mbf"}, "machine": "x86_64"})
    assert RunFolder(tmp_path).network == "mbf"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (RUN, "{", r"run\.json: not JSON"),
        (RUN, "[1]", r"run\.json: holds a list; expected an object"),
        (RUN, json.dumps({"config": [1]}), r"run\.json: config: input should be a valid dictionary"),
        (RUN, json.dumps({"teacher": {"name": "anna"}}), r"run\.json: teacher\.sha256: field required"),
        (RESULT, json.dumps({"accuracy": {"dev": "high"}}), r"result\.json: accuracy\.dev: input should be a valid"),
        (RESULT, json.dumps({"steps": 1.5}), r"result\.json: steps: input should be a valid integer"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(name, content, said, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=said) as refused:
        RunFolder(tmp_path).facts()
    assert "\n" not in str(refused.value)


def test_reading_a_run_needs_no_torch():
    code = "import sys; from insightface_cakd.runtime import run_folder; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
