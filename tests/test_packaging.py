"""What is installed: the package, its recipes and patches, its types; no tests, no benchmarks."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel, built from a copy so that nothing is written beside the sources."""
    pytest.importorskip("setuptools", reason="setuptools is not installed: no wheel can be built without an index")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("insightface_cakd", "recipes", "patches", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", str(source), *options]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return set(zipfile.ZipFile(next(out.glob("*.whl"))).namelist())


def shipped(folder, *suffixes):
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.suffix in suffixes}


@pytest.mark.slow
def test_the_wheel_holds_recipes_patches_templates_and_the_marker_of_types(wheel):
    expected = {f"insightface_cakd/{name}" for name in shipped("recipes", ".yaml") | shipped("patches", ".patch")}
    assert expected
    expected |= shipped("insightface_cakd/report/templates", ".html", ".css")
    assert expected | {"insightface_cakd/py.typed", "insightface_cakd/patches/series"} <= wheel


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    modules = {name for name in wheel if name.endswith(".py")}
    ours = shipped("insightface_cakd", ".py") | {f"insightface_cakd/{name}" for name in shipped("recipes", ".py")}
    assert modules == ours | {f"insightface_cakd/{name}" for name in shipped("patches", ".py")}


def test_hooks_run_what_make_lint_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = re.search(r"^lint: install\n((?:\t.+\n)+)", makefile, re.MULTILINE)[1]
    wanted = {tuple(line.replace("$(BIN)/", "").split()[:2]) for line in lint.splitlines()}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert {tuple(hook["entry"].split()[:2]) for hook in hooks} == wanted
    assert all(hook["language"] == "system" for hook in hooks), "no download"
