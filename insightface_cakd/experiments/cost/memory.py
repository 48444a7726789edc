"""Peak memory of one call, above what was allocated before it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """Return the peak number of bytes that one call allocates.

    These are activations, gradients and results. Weights, momentum and images exist before the call and are not counted,
    so that calls on different networks can be compared. On CUDA it is `max_memory_allocated` minus what was allocated
    before, including scratch memory of the kernels. On other devices it is the largest total size of live storages that
    were made during the call (see `LiveTensors`), without scratch memory of the kernels.
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
    """Adds up the sizes of live tensor storages while it is entered.

    It sees every operator below autograd, including those of the backward pass. A storage is counted from the operator
    that returns it until it is freed. Storages that an operator received as input, or that are older than the mode, are
    not counted.

    Attributes:
        now: bytes of the storages that are alive now.
        peak: largest value of `now` so far.
        gradients: bytes of those that are gradients of parameters, now.
        gradients_at_peak: the same when `now` was largest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self.gradients = 0
        self.gradients_at_peak = 0
        self._known: dict[int, ref] = {}
        self._of_gradients: set[int] = set()

    @contextmanager
    def watching(self, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        """Tell the gradients of parameters from other tensors, within a `with` block."""
        hooks = [one.register_post_accumulate_grad_hook(self._note_gradient) for one in parameters if one.requires_grad]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and count the storages that it made."""
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
            if key in self._of_gradients:
                self._of_gradients.remove(key)
                self.gradients -= size

        self._known[key] = ref(storage, forget)
        self.now += size
        if self.now > self.peak:
            self.peak, self.gradients_at_peak = self.now, self.gradients

    def _note_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        storage = parameter.grad.untyped_storage()
        if storage._cdata in self._known.keys() - self._of_gradients:
            self._of_gradients.add(storage._cdata)
            self.gradients += storage.nbytes()


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
