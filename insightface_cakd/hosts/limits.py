"""Checks for valid-looking values that would stop arcface_torch's own loop late."""

import importlib.util
import os
from pathlib import Path

import torch
from easydict import EasyDict

from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError, RunError


def check_limits(cfg: EasyDict) -> None:
    """Check the margins, the output folder and the imports of two options."""
    m1, _, m3 = cfg.margin_list
    if m3 <= 0 and (m1 != 1 or m3 != 0):
        raise RunError(
            f"config: margin_list is {cfg.margin_list}; expected (1.0, m2, 0.0) or (1.0, 0.0, m3), others stop at the first step "
            "(losses.py:54). Correct it."
        )
    if cfg.get("dali") and cfg.rec != "synthetic":
        _check_dali()
    if cfg.get("using_wandb") and importlib.util.find_spec("wandb") is None:
        raise RunError(
            "config: using_wandb is True, but wandb is not installed. Set using_wandb=False, or pip install wandb."
        )
    output = Path(str(cfg.output))
    there = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise RunError(f"output: {there} is no folder that can be written; expected one for {output}. Set output=DIR.")


def _check_dali() -> None:
    if importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None:
        raise RunError(
            "config: dali is True, but DALI is not installed. Set dali=False, or pip install nvidia-dali-cuda120."
        )
    if not torch.cuda.is_available():
        raise RunError("config: dali is True, but DALI needs a GPU, and there is none. Set dali=False.")


def check_first_record(faces: FaceRecords) -> None:
    """Check record 0: arcface_torch takes one with several labels for a header."""
    if faces.header is not None:
        return
    where = f"{faces.reader.path}: record 0"
    if 0 not in faces.keys:
        raise DataError(
            f"{where} is missing; arcface_torch reads it first (dataset.py:151). Pack the data again: `cakd data pack`."
        )
    if faces.reader.read(0).flag > 0:
        raise DataError(
            f"{where} is an image with several labels; arcface_torch takes it for a header (dataset.py:153) and reads other images. Pack "
            "the data again: `cakd data pack`."
        )
