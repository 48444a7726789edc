"""Loads live/spoof models, with the class that means live."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from insightface_cakd.errors import EvaluationError
from insightface_cakd.networks.entries import find_entry
from insightface_cakd.networks.models import GetModel
from insightface_cakd.networks.onnx import OnnxAdvice, OnnxNetwork
from insightface_cakd.runtime.run_folder import RunFolder

_ADVICE = OnnxAdvice("get it again", "--size", "Pass --size {side}.")


def load_live_model(
    path: Path, live_class: int | None, size: int, get_model: GetModel, device: torch.device
) -> tuple[Callable[[Tensor], Tensor], int]:
    """Return a model that answers logits, and its class of live.

    Args:
        path: a run's folder or an .onnx.
        live_class: None is allowed for the folder of a run of task liveness, where it is 1.
        size: side of the images of an .onnx.
        get_model: the host's factory.
        device: where it runs.

    Raises:
        EvaluationError: the class is not known, or the model cannot be loaded.
    """
    if path.is_dir() and live_class is None:
        recipe = RunFolder(path).recipe or {}
        if recipe.get("task", {}).get("kind") == "liveness":
            live_class = 1
    if live_class is None:
        raise EvaluationError(
            f"{path}: which class means live is not said; expected its index, models differ. Pass --live-class, "
            "1 for networks trained here."
        )
    entry = find_entry(path)
    if entry.runtime == "onnxruntime":
        return OnnxNetwork(entry.path, device, size, str(path), _ADVICE), live_class
    return entry.load(get_model, device), live_class
