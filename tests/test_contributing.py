"""What CONTRIBUTING.md prints is written to a package of a user's own, and runs: a source, a view, a task, a protocol."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from insightface_cakd.evaluate.protocol import Measure, build_protocol
from insightface_cakd.hosts.embedded.parts import RunResult
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.named import ViewsSpec
from insightface_cakd.tasks import seam
from insightface_cakd.tasks.measuring import MeasureCallback
from insightface_cakd.tasks.task import Task
from insightface_cakd.views import Sides
from tests.commands import cakd
from tests.evaluate.verification_files import write_set
from tests.networks.onnx_models import channel_means
from tests.toy import WIDTH, toy_batch, toy_head, toy_host, toy_teachers

PAGE = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
CLASSES = 11


def printed(name: str) -> str:
    """Return the one block of the page that defines a class."""
    (block,) = [
        text for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if f"class {name}" in text
    ]
    return block


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    """Write blocks of the page as modules of `my_package`, found from the working directory; give what writes one."""
    package = tmp_path / "my_package"
    package.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def write(name: str) -> None:
        (package / "parts.py").write_text(printed(name))

    yield write
    for module in set(sys.modules) - before:
        if module.startswith("my_package"):
            del sys.modules[module]


def test_the_source_gives_a_known_loss_something_to_read(own_package):
    own_package("Rows")
    assert '`sources: [{kind: "my_package.parts:Rows", tap: layer4}]`' in PAGE
    content = {
        "teacher": {"network": "toy"},
        "sources": [{"kind": "my_package.parts:Rows", "tap": "conv"}],
        "losses": [{"loss": "mse", "reads": "rows", "weight": 2}],
    }
    host = toy_host()
    distillation = seam.install(host, parse_recipe(content, "recipe"), toy_teachers())
    student = host.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH).train()
    images, labels = toy_batch(CLASSES)
    toy_head(host, CLASSES, (1.0, 0.5, 0.0))(student(images), labels).backward()
    assert float(distillation.step.raw["mse"]) > 0
    assert float(student.backbone.conv.weight.grad.abs().sum()) > 0


def test_the_view_changes_what_the_student_sees(own_package):
    own_package("Dimmed")
    sides = Sides.of(ViewsSpec.model_validate({"student": [{"kind": "my_package.parts:Dimmed", "least": 0.5}]}), seed=1)
    images = torch.ones(4, 3, 112, 112)
    ours, theirs = sides(images, 0)
    assert torch.equal(theirs, images)
    assert 0.5 <= float(ours.min()) < float(ours.max()) < 1
    assert torch.equal(sides(images, 0)[0], ours)


def test_the_task_trains_by_its_own_data_loss_and_measure(own_package, tmp_path):
    own_package("Brightness")
    (tmp_path / "r.yaml").write_text("task: my_package.parts:Brightness\n")
    settings = {
        "rec": str(tmp_path),
        "val_targets": ["greys"],
        "batch_size": 16,
        "num_epoch": 1,
        "warmup_epoch": 0,
        "num_workers": 0,
        "device": "cpu",
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value!r}")]
    ran = cakd("train", "faces_cnn_tiny", "--output", tmp_path / "out", "--distill", tmp_path / "r.yaml", *sets)
    assert ran.code == 0, ran.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["steps"] == 4
    assert 0 < result["measured"]["greys"]["off"] < 2


def test_the_protocol_is_a_command_and_measures_in_a_run(own_package, tmp_path):
    own_package("Mirrored")
    write_set(tmp_path / "dev.bin", 10)
    channel_means(tmp_path / "net.onnx")
    ran = cakd("eval", "my_package.parts:Mirrored", "net.onnx", "dev.bin", "--most", "4", "--json", "n.json")
    assert ran.code == 0, ran.err
    # Means of channels are the same in a mirror.
    assert json.loads((tmp_path / "n.json").read_text()) == {"mean_cosine": pytest.approx(1.0)}
    measure = Measure(build_protocol("my_package.parts:Mirrored", {}), [tmp_path / "dev.bin"])

    class Mirrors(Task):
        def measures(self, folder, names):
            return {"mirrored": measure}

    callback = MeasureCallback(Mirrors(), [], str(tmp_path))
    found = callback(0, torch.nn.Sequential(torch.nn.AvgPool2d(112), torch.nn.Flatten(), torch.nn.Linear(3, 3)))
    result = RunResult()
    callback.record(found, result)
    assert result.measured["mirrored"]["mean_cosine"] == pytest.approx(1.0, abs=1e-5)
