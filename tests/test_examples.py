"""The scripts of `examples/` run as their page prints them, from an empty folder, and so do the cells of the notebook."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples"
NOTEBOOK = FOLDER / "first_hour.ipynb"
SCRIPTS = {path.name for path in FOLDER.glob("*.py")}


def printed():
    """Return the command lines of the page, as words."""
    block = (FOLDER / "README.md").read_text(encoding="utf-8").split("```sh\n")[1].split("```")[0]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def python(*arguments, folder):
    """Run Python in a folder and return what it printed."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "agg"}
    run = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def cells(kind):
    """Return the texts of the notebook's cells of a kind."""
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in found["cells"] if cell["cell_type"] == kind]


def test_the_page_runs_every_script():
    assert {Path(words[1]).name for words in printed()} == SCRIPTS
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in text for name in (*SCRIPTS, NOTEBOOK.name))


@pytest.mark.slow
def test_the_page_is_true(tmp_path):
    (tmp_path / "examples").symlink_to(FOLDER)
    said = []
    for words in printed():
        said.append(python(*words[1:], folder=tmp_path))
    assert "student + distillation: " in said[0]
    assert "insightface.model_zoo loads it" in said[0]
    assert -1 <= float(said[1].removeprefix("cosine ")) <= 1
    assert "| dev |   400 |" in said[2]
    assert "mobilenetv3_small_050, projected: " in said[3]
    assert "NormLoss" in (tmp_path / "own" / "student" / "run.json").read_text()


def test_the_notebook_is_kept_without_outputs():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    assert all(not cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code")


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    """Its code cells, one after the other in one namespace: nothing in them is Jupyter's own."""
    (tmp_path / "cells.py").write_text("\n\n".join(cells("code")))
    said = python("cells.py", folder=tmp_path)
    assert "student + distillation" in said
    assert "<Recogniser 'student'" in said
    assert "insightface.model_zoo loads it" in said
    assert said.count("accepts at most 0.05 of the 200 different pairs of dev.bin") == 4
    assert len(cells("markdown")) >= 6
