"""What is installed: the package, its recipes and patches, its types; no tests, no benchmarks."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import insightface_cakd

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """An sdist, and the wheel that is built from it, of a copy of the sources, so that nothing is written beside them."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("insightface_cakd", "recipes", "patches", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run("build", "--no-isolation", "--outdir", out, source)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def run(module, *words, python=sys.executable, folder=None):
    """Return what `python -m module` prints; it must end well."""
    ran = subprocess.run(
        [python, "-m", module, *map(str, words)], capture_output=True, text=True, check=False, cwd=folder
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(distributions):
    """The names in the wheel."""
    return set(zipfile.ZipFile(distributions[1]).namelist())


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


@pytest.mark.slow
def test_the_index_would_take_both_and_show_the_readme(distributions):
    said = run("twine", "check", "--strict", *distributions)
    assert said.count("PASSED") == 2


@pytest.mark.slow
def test_the_wheel_alone_trains_distils_and_exports(distributions, face_set, tmp_path, monkeypatch):
    """In an environment of its own, away from the sources; what the package needs is borrowed from this one."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    home = tmp_path / "home"
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    place = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    with zipfile.ZipFile(distributions[1]) as archive:
        archive.extractall(place)
    # Its own packages come first, and the link of an editable install is not followed from here.
    (place / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    home.mkdir()

    def cakd(*words):
        return run("insightface_cakd", *words, python=python, folder=home)

    where = subprocess.check_output(
        [python, "-c", "import insightface_cakd; print(insightface_cakd.__file__)"], text=True, cwd=home
    )
    assert where.startswith(str(place))
    quick = [
        part for one in ("num_epoch=1", "warmup_epoch=0", "num_workers=0", "batch_size=12") for part in ("--set", one)
    ]
    cakd("train", "faces_vit_tiny", "--data", face_set, "--output", "teacher", *quick)
    taught = ["--distill", "cosine", "--teacher", "teacher"]
    cakd("train", "faces_cnn_tiny", "--data", face_set, "--output", "student", *taught, *quick)
    assert "insightface.model_zoo loads it" in cakd("export", "student", "student.onnx")


def test_the_citation_has_the_version():
    assert (
        yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == insightface_cakd.__version__
    )


def test_a_tagged_commit_has_its_version_and_its_changes():
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.split()
    if not tags:
        pytest.skip("this commit has no tag: it is no release")
    assert f"v{insightface_cakd.__version__}" in tags
    assert f"## [{insightface_cakd.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_hooks_run_what_make_lint_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = re.search(r"^lint: install\n((?:\t.+\n)+)", makefile, re.MULTILINE)[1]
    wanted = {tuple(line.replace("$(BIN)/", "").split()[:2]) for line in lint.splitlines()}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert {tuple(hook["entry"].split()[:2]) for hook in hooks} == wanted
    assert all(hook["language"] == "system" for hook in hooks), "no download"
