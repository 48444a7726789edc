"""Builds the torch networks that can serve as teachers."""

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from insightface_cakd.errors import CAKDError, TeacherError, in_one_line
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.objects import import_object
from insightface_cakd.runtime.reading import reading

GetModel = Callable[..., nn.Module]


def host_network(name: str, embedding_size: int, get_model: GetModel, device: torch.device) -> nn.Module:
    """Build one of the host's networks by name.

    On CUDA its body is set to compute in float16, as in training; its tail stays float32.
    """
    try:
        return get_model(name, num_features=embedding_size, fp16=device.type == "cuda", dropout=0.0)
    except (CAKDError, ValueError) as error:
        reason = f" ({in_one_line(error)})" if str(error) else ""
        raise TeacherError(
            f"teacher.network {name}: the host has no such network{reason}; expected one of its names, timm:NAME, "
            "package.module:callable, torchscript, onnx or cached."
        ) from error


def own_network(target: str, embedding_size: int | None) -> nn.Module:
    """Call `package.module:callable` and return the network that it builds.

    The callable gets `num_features=embedding_size` if it has a parameter of that name and the size is known, otherwise
    no arguments.
    """
    where = f"teacher.network {target}"
    build = import_object(target, "teacher.network", "callable", TeacherError)
    if not callable(build):
        raise TeacherError(
            f"{where}: is a {type(build).__name__}; expected a callable that builds the network. Correct it."
        )
    needs = "it to build the network, without arguments or with num_features. Correct it."
    with foreign(where, TeacherError, needs, fails="cannot be built"):
        takes_width = embedding_size is not None and "num_features" in inspect.signature(build).parameters
        network = build(num_features=embedding_size) if takes_width else build()
    if not isinstance(network, nn.Module):
        raise TeacherError(
            f"{where}: returned a {type(network).__name__}; expected a torch.nn.Module. Return the network."
        )
    return network


def torchscript_network(path: Path, device: torch.device, where: str) -> nn.Module:
    """Load a TorchScript file."""
    expected = "a file written by torch.jit.save. It is truncated, damaged or no TorchScript: get it again, or correct teacher.network."
    with reading(where, TeacherError, expected, RuntimeError, ValueError), warnings.catch_warnings():
        # torch warns at every load that the format is deprecated; files in it still exist.
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(str(path), map_location=device)
