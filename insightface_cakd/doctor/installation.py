"""Examination of the installation: packages, devices and shipped recipes."""

import importlib.metadata
import platform
from collections.abc import Iterator
from functools import partial

import cv2
import onnxruntime
import torch

from insightface_cakd import __version__
from insightface_cakd.recipe import load_recipe, recipe_name, shipped_recipes
from insightface_cakd.runtime.findings import Finding, note, ok, problem, refusals

PACKAGES = ("torch", "timm", "numpy", "onnx", "onnxruntime", "insightface", "tensorboard")
# Distributions that install a package under another name.
OTHER_NAMES = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml")}


def examine_installation() -> Iterator[Finding]:
    """Examine versions, devices and the shipped recipes."""
    yield ok(f"insightface-cakd {__version__}, Python {platform.python_version()}, {platform.system()}")
    versions = {package: _version(package) for package in PACKAGES}
    found = [f"{package} {version}" for package, version in versions.items() if version is not None]
    # OpenCV comes under several distribution names.
    yield ok(f"packages: {', '.join([*found, f'opencv {cv2.__version__}'])}")
    for package, version in versions.items():
        if version is None:
            yield problem(
                f"package {package}: not installed; expected it beside insightface-cakd. pip install {package}"
            )
    yield from _devices()
    yield from _recipes()


def _version(package: str) -> str | None:
    for name in (package, *OTHER_NAMES.get(package, ())):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _devices() -> Iterator[Finding]:
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    yield ok(f"devices: {', '.join([*names, f'cpu, {torch.get_num_threads()} threads'])}")
    if torch.version.cuda and not torch.cuda.is_available():
        yield note(f"devices: torch is built for CUDA {torch.version.cuda}, but finds no GPU; a run takes the CPU.")
    if torch.cuda.is_available() and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        yield note(
            "devices: this onnxruntime has no CUDA provider, so an ONNX teacher runs on the CPU. Install onnxruntime-gpu."
        )


def _recipes() -> Iterator[Finding]:
    paths = shipped_recipes()
    if not paths:
        yield problem("recipes: none is shipped, so the installation is not whole. Install insightface-cakd again.")
        return
    yield ok(f"recipes: {', '.join(recipe_name(path) for path in paths)}")
    for path in paths:
        yield from refusals(partial(load_recipe, str(path)))
