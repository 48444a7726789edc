"""The loss of docs/own_loss.md as it is printed: one file of another package, or of this one, that holds what every loss must hold."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.tasks import seam
from tests.toy import WIDTH, toy_batch, toy_head, toy_host, toy_teacher, toy_teachers

ROOT = Path(__file__).resolve().parents[2]
LOSS = "my_package.losses:NormLoss"
CLASSES = 11


@pytest.fixture(scope="module")
def printed():
    """The block of the page."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "own_loss.md").read_text(encoding="utf-8"), re.M | re.S
    )
    return next(block for block in blocks if re.search(r"^class \w+\(DistillLoss\):", block, re.M))


@pytest.fixture
def folder(printed, tmp_path):
    """A folder with the package that has it."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "losses.py").write_text(printed)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


def python(*arguments, path, cwd=ROOT):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_it_holds_the_contract_and_is_the_same_on_two_ranks(folder):
    files = (f"tests/losses/test_{name}.py" for name in ("contract", "ranks"))
    ran = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "--loss", LOSS, path=(ROOT, folder))
    assert ran.returncode == 0, ran.stdout
    assert int(re.search(r"(\d+) passed", ran.stdout)[1]) >= 25, ran.stdout


@pytest.mark.parametrize("command", ["check", "format"])
def test_it_passes_the_linter(command, folder):
    more = ["--check"] if command == "format" else []
    file = folder / "my_package" / "losses.py"
    ran = python("-m", "ruff", command, *more, "--no-cache", "--config", ROOT / "pyproject.toml", file, path=(ROOT,))
    assert ran.returncode == 0, ran.stdout


def test_a_recipe_names_it_and_a_step_trains_with_it(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    content = {"teacher": {"network": "toy"}, "losses": [{"loss": LOSS, "weight": 3}]}
    host = toy_host()
    distillation = seam.install(host, parse_recipe(content, "recipe"), toy_teachers())
    torch.manual_seed(0)
    student = host.get_model("toy", num_features=WIDTH).train()
    head = toy_head(host, CLASSES, (1.0, 0.5, 0.0)).train()
    images, labels = toy_batch(CLASSES)
    loss = head(student(images), labels)
    loss.backward()
    raw, plain = distillation.step.raw["norm"], distillation.step.raw["margin"]
    with torch.no_grad():
        norms = [network(images).norm(dim=1) for network in (student.eval(), toy_teacher().network)]
    assert float(raw) == pytest.approx(float((norms[0] - norms[1]).abs().mean()), rel=1e-5)
    assert float(loss.detach()) == pytest.approx(float(plain + 3 * raw), rel=1e-6)


def test_copied_into_this_package_it_is_found_with_no_other_line(printed, tmp_path):
    shutil.copytree(
        ROOT / "insightface_cakd", tmp_path / "insightface_cakd", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "insightface_cakd" / "losses" / "norm.py").write_text(printed)
    (tmp_path / "own.yaml").write_text("teacher: {network: r50}\nlosses: [{loss: norm, weight: 1}]\n")
    ran = python("-m", "insightface_cakd", "recipes", "check", "own.yaml", path=(tmp_path,), cwd=tmp_path)
    assert ran.stdout.splitlines()[0].startswith("norm: 1 x norm, reads the embedding"), ran.stderr
    code = "from insightface_cakd.losses import LOSSES; print(LOSSES['norm'].__module__, len(LOSSES))"
    assert (
        python("-c", code, path=(tmp_path,), cwd=tmp_path).stdout == f"insightface_cakd.losses.norm {len(LOSSES) + 1}\n"
    )
