"""The scripts of `examples/` run as their page prints them, from an empty folder."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples"
SCRIPTS = {path.name for path in FOLDER.glob("*.py")}


def printed():
    """Return the command lines of the page, as words."""
    block = (FOLDER / "README.md").read_text(encoding="utf-8").split("```sh\n")[1].split("```")[0]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def test_the_page_runs_every_script():
    assert {Path(words[1]).name for words in printed()} == SCRIPTS
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in text for name in SCRIPTS)


@pytest.mark.slow
def test_the_page_is_true(tmp_path):
    (tmp_path / "examples").symlink_to(FOLDER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    said = []
    for words in printed():
        run = subprocess.run(
            [sys.executable, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        said.append(run.stdout)
    assert "student + distillation: " in said[0]
    assert "insightface.model_zoo loads it" in said[0]
    assert -1 <= float(said[1].removeprefix("cosine ")) <= 1
    assert "NormLoss" in (tmp_path / "own" / "student" / "run.json").read_text()
