"""What is installed, and how the command ends."""

import importlib.metadata

import torch

from insightface_cakd import __version__
from insightface_cakd.doctor import installation
from insightface_cakd.recipe import recipe_name, shipped_recipes
from tests.commands import cakd
from tests.doctor.asking import lines, problems


def test_an_installation_that_is_whole_has_no_problem():
    said = lines()
    assert problems() == []
    assert said[0].startswith(f"ok      insightface-cakd {__version__}, Python 3.")
    assert said[1].startswith(f"ok      packages: torch {importlib.metadata.version('torch')}, timm ")
    assert any(
        line.startswith("ok      devices: ") and f"cpu, {torch.get_num_threads()} threads" in line for line in said
    )
    assert said[-1] == f"ok      recipes: {', '.join(recipe_name(path) for path in shipped_recipes())}"


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(installation, "PACKAGES", (*installation.PACKAGES, "no-such-distribution"))
    assert problems() == [
        "package no-such-distribution: not installed; expected it beside insightface-cakd. pip install no-such-distribution"
    ]


def test_onnxruntime_under_another_name_is_no_fault(monkeypatch):
    version = importlib.metadata.version

    def only_for_gpus(name):
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.99" if name == "onnxruntime-gpu" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", only_for_gpus)
    assert problems() == []
    assert "onnxruntime 1.99" in lines()[1]


def test_recipes_that_are_missing_or_broken_are_named(monkeypatch, tmp_path):
    (tmp_path / "broken.yaml").write_text("losses: []")
    monkeypatch.setattr(installation, "shipped_recipes", lambda: [tmp_path / "broken.yaml"])
    assert problems() == ["recipe broken.yaml: teacher is missing; it must be given."]
    monkeypatch.setattr(installation, "shipped_recipes", list)
    assert problems() == ["recipes: none is shipped, so the installation is not whole. Install insightface-cakd again."]


def test_a_gpu_that_torch_does_not_find_and_an_onnxruntime_without_cuda_are_noted(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "note    devices: torch is built for CUDA 12.8, but finds no GPU; a run takes the CPU." in lines()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(installation.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert any("no CUDA provider, so an ONNX teacher runs on the CPU" in line for line in lines())


def test_what_is_given_without_what_it_belongs_to():
    assert problems(fixes=("mean-gradient",))[0].startswith("--fix, --no-fix: given without --host")
    said = 'teacher.weights="x.pt": given without --distill; expected a recipe. Add --distill RECIPE.'
    assert problems(teacher="x.pt")[0] == said


def test_the_exit_code_follows(face_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    healthy = cakd("doctor")
    assert (healthy.code, healthy.out.splitlines()[-1]) == (0, "no problem; --config looks at a run as well")
    good = cakd("doctor", "--config", "faces_cnn_tiny", "--data", face_set, "--set", "batch_size=8")
    assert (good.code, good.out.splitlines()[-1]) == (0, "no problem: a run would start")
    failed = cakd("doctor", "--config", "faces_cnn_tiny", "--distill", "cosine")
    assert failed.code == 1
    assert "problem config: rec is not set" in failed.out
    assert failed.out.splitlines()[-1] == "2 problems"
