"""Runs arcface_torch without CUDA, for a smoke run."""

import functools
from contextlib import ExitStack, nullcontext
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from insightface_cakd.hosts.compat.fix import Fix, replace, wrapping
from insightface_cakd.hosts.compat.imports import after_import, after_import_of


def _use_gloo(stack: ExitStack) -> None:
    @wrapping(dist, "init_process_group", stack)
    def init_process_group(original: Any, backend: str | None = None, *args: Any, **kwargs: Any) -> None:
        original("gloo" if backend == "nccl" else backend, *args, **kwargs)


def _stay_on_cpu(stack: ExitStack) -> None:
    # One function each: torch.compile's tables, filled by the first DDP, refuse one object under two names.
    for owner in (torch.Tensor, torch.nn.Module):
        replace(stack, owner, "cuda", lambda self, *_, **__: self)
    for name in ("set_device", "synchronize", "empty_cache"):
        # There is no device to choose or to wait for.
        replace(stack, torch.cuda, name, lambda *_, **__: None)


class NoStream:
    """A CUDA stream's replacement on the CPU, where nothing is pending."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wait_stream(self, _: Any) -> None:
        """Do nothing: there is nothing to wait for."""

    def synchronize(self) -> None:
        """Do nothing: there is nothing to wait for."""


def _do_without_streams(stack: ExitStack) -> None:
    replace(stack, torch.cuda, "Stream", NoStream)
    replace(stack, torch.cuda, "current_stream", lambda *_: NoStream())
    replace(stack, torch.cuda, "stream", lambda _: nullcontext())
    after_import_of(stack, "dataset", "DataLoaderX", _load_to_cpu)


def _load_to_cpu(loader: type) -> None:
    """Let the loader move its batches to the CPU, not to device `local_rank`; nothing is pinned."""

    @wrapping(loader, "__init__")
    def construct(original: Any, self: Any, local_rank: Any, **kwargs: Any) -> None:
        original(self, local_rank=torch.device("cpu"), **{**kwargs, "pin_memory": False})


def _leave_out_device_ids(stack: ExitStack) -> None:
    @wrapping(DistributedDataParallel, "__init__", stack)
    def construct(original: Any, self: Any, module: Any, device_ids: Any = None, *args: Any, **kwargs: Any) -> None:
        original(self, module, None, *args, **kwargs)


def _share_seed_on_cpu(sampler: ModuleType) -> None:
    if hasattr(sampler, "sync_random_seed"):
        sampler.sync_random_seed = functools.partial(sampler.sync_random_seed, device="cpu")  # type: ignore[attr-defined]


def _load_onto_cpu(stack: ExitStack) -> None:
    for owner in (torch, torch.jit):

        @wrapping(owner, "load", stack)
        def load(original: Any, f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
            return original(f, "cpu" if map_location is None else map_location, *args, **kwargs)


_FIX = functools.partial(
    Fix,
    since="torch without CUDA",
    until="arcface_torch takes its device from a variable",
    applies=lambda: None if torch.cuda.is_available() else "CUDA is not available",
)
GLOO = _FIX(
    name="gloo-for-nccl",
    breaks="train_v2.py:29, 34: the process group wants NCCL, at import",
    fix="gloo in the place of nccl",
    apply=_use_gloo,
)
CPU_TENSORS = _FIX(
    name="cuda-calls-on-cpu",
    breaks="train_v2.py:49, 96, 119, 129; partial_fc_v2.py:92-97, 133, 137; eval_ijbc.py:61, 105: set_device and .cuda()",
    fix="tensors and modules stay where they are",
    apply=_stay_on_cpu,
)
CPU_STREAMS = _FIX(
    name="streams-on-cpu",
    breaks="dataset.py:89, 111, 124-129: the loader copies on a CUDA stream to device number local_rank",
    fix="the loader copies to the CPU, without a stream and without pinned memory",
    apply=_do_without_streams,
)
DDP_DEVICES = _FIX(
    name="ddp-without-device-ids",
    breaks="train_v2.py:98-100: device_ids of a module on the CPU is a ValueError",
    fix="DistributedDataParallel gets no device_ids",
    apply=_leave_out_device_ids,
)
SEED_DEVICE = _FIX(
    name="seed-on-cpu",
    breaks="utils/utils_distributed_sampler.py:45, 100: the ranks share their seed in a CUDA tensor",
    fix="they share it in a CPU tensor",
    apply=lambda stack: after_import(stack, "utils.utils_distributed_sampler", _share_seed_on_cpu),
)
CPU_FILES = _FIX(
    name="cuda-files-on-cpu",
    breaks="train_v2.py:148, eval_ijbc.py:58, torch2onnx.py:14, inference.py:23: weights saved on a GPU cannot be read",
    fix="torch.load and torch.jit.load put them on the CPU unless the caller names a device",
    apply=_load_onto_cpu,
)
