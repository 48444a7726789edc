"""The memory that one call needs on top of what was there before it."""

from collections.abc import Callable
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that one call holds at once: activations, gradients, results.

    Weights, momentum and images are there before the call and not counted, so that calls on different networks compare.
    CUDA: `max_memory_allocated` above what was allocated before, scratch of the kernels included. Elsewhere: the highest sum of all
    tensors' storages that are made in the call and live (see `LiveTensors`), without the kernels' own scratch.

    Args:
        run: the call; it runs once.
        device: where its tensors are.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with LiveTensors() as live:
        run()
    return live.peak


class LiveTensors(TorchDispatchMode):
    """Adds up the storages of the tensors that live, while it is entered.

    Every operator below autograd passes here, those of the backward pass too. A storage counts from the operator that gives it to
    its end; one that an operator was given, or that is older than the mode, does not.

    Attributes:
        now: bytes that live.
        peak: the most that lived at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: dict[int, ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count what it made."""
        kwargs = kwargs or {}
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage._cdata not in given | self._known.keys():
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()

        def forget(_: ref) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
