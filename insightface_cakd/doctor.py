"""`cakd doctor`: would a run start on this machine, with this config and this data?"""

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from insightface_cakd import __version__
from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.embedded.dataset import open_faces
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.recipe import load_recipe, shipped_recipes

PACKAGES = (
    "torch",
    "timm",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "insightface",
    "opencv-python",
    "tensorboard",
)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, whether it stands in the way, what was found."""

    good: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.good else 'FAIL'} {self.text}"


def examine(config: str | None, data: Path | None) -> Iterator[Finding]:
    """Look at the installation, and at a config and its data when they are given.

    Args:
        config: a job of the embedded host by name or path.
        data: folder with train.rec; the config's `rec` when not given.
    """
    yield Finding(True, f"insightface-cakd {__version__}, Python {platform.python_version()}, {platform.system()}")
    yield from _packages()
    yield Finding(True, f"devices: {', '.join(_devices())}")
    yield from _recipes()
    cfg = None
    if config is not None:
        try:
            cfg = get_config(config)
            yield Finding(
                True, f"config {config}: network {cfg.network}, {cfg.num_classes} classes, batch {cfg.batch_size}"
            )
        except CAKDError as error:
            yield Finding(False, str(error))
    folder = data if data is not None else cfg.rec if cfg is not None else None
    if folder is not None:
        yield from _data(Path(folder), cfg)
    elif cfg is not None:
        yield Finding(
            False, f"config {config}: rec is not set; a run needs it. Pass --data with the folder of train.rec."
        )


def _packages() -> Iterator[Finding]:
    for package in PACKAGES:
        try:
            yield Finding(True, f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            # OpenCV comes under several distribution names.
            yield Finding(package == "opencv-python", f"{package}: not installed under this name")


def _devices() -> list[str]:
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, f"cpu with {torch.get_num_threads()} threads"]


def _recipes() -> Iterator[Finding]:
    paths = shipped_recipes()
    if not paths:
        yield Finding(False, "no shipped recipes found; the installation is not whole. Install the package again.")
    for path in paths:
        try:
            load_recipe(str(path))
        except CAKDError as error:
            yield Finding(False, str(error))
    yield Finding(True, f"{len(paths)} shipped recipes: {', '.join(path.stem for path in paths)}")


def _data(folder: Path, cfg: object) -> Iterator[Finding]:
    """Compare a record file with the config: labels, number of classes, verification sets."""
    try:
        records = open_faces(str(folder))
        yield Finding(True, f"{folder}: {len(records)} images of {records.num_classes} people")
    except CAKDError as error:
        yield Finding(False, str(error))
        return
    if cfg is None:
        return
    classes = getattr(cfg, "num_classes", records.num_classes)
    if classes is not None and records.num_classes > classes:
        yield Finding(
            False,
            f"num_classes is {classes}, the records hold labels up to {records.num_classes - 1}. Raise num_classes.",
        )
    for name in getattr(cfg, "val_targets", []):
        found = (folder / f"{name}.bin").is_file()
        yield Finding(found, f"val_targets: {name}.bin {'found' if found else f'is not in {folder}'}")
