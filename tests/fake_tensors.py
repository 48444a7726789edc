"""A training step on tensors without data: what a GPU would refuse or wait for shows without one.

`FakeTensorMode` runs every operator on shapes alone. It refuses operands on two devices, and it cannot answer a read of a value (`.item()`,
`nonzero`, an index by a mask), for which a step on a GPU would wait.
"""

import functools
import gc
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from insightface_cakd.experiments.cost.steps import TrainingStep

OURS = ("insightface_cakd", "tests")
BATCH = 4


@contextmanager
def on_fakes(step: TrainingStep, device: str) -> Iterator[None]:
    """Give a step that was built on the CPU, and all that it reaches, tensors without data on a device."""
    _forget_constants()
    try:
        with FakeTensorMode():
            _Conversion(torch.device(device)).convert(step)
            groups = [{"params": list(part.parameters())} for part in (step.backbone, step.head)]
            step.optimizer = torch.optim.SGD(groups, lr=1e-3, momentum=0.9)
            yield
    finally:
        _forget_constants()


def _forget_constants() -> None:
    """Empty the package's caches of functions: a constant made here has no data, and one made before is real."""
    for thing in gc.get_objects():
        # By its type: isinstance asks some objects of torch for more than their class.
        if type(thing) is functools._lru_cache_wrapper and (thing.__module__ or "").startswith(OURS):
            thing.cache_clear()


class _Conversion:
    """Replaces tensors and devices in place; each object is looked at once, and a tensor that two share stays shared."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.done: dict[int, Any] = {}

    def convert(self, thing: Any) -> None:
        """Replace what an object holds, and what that holds."""
        if id(thing) in self.done:
            return
        self.done[id(thing)] = thing
        if isinstance(thing, types.FunctionType | types.MethodType):
            self._convert_function(thing)
        elif isinstance(thing, dict):
            self._replace(thing)
        elif isinstance(thing, list | tuple | set | frozenset):
            self._convert_sequence(thing)
        elif isinstance(thing, type):
            self._convert_each(vars(thing).values() if thing.__module__.startswith(OURS) else ())
        elif isinstance(thing, nn.Module) or type(thing).__module__.startswith(OURS):
            self._replace(getattr(thing, "__dict__", {}))
            self.convert(type(thing))

    def _convert_each(self, values: Iterable[Any]) -> None:
        for value in list(values):
            self.convert(value)

    def _convert_sequence(self, thing: Any) -> None:
        if isinstance(thing, list):
            thing[:] = [self._new(value) for value in thing]
        self._convert_each(thing)

    def _convert_function(self, thing: Any) -> None:
        function = getattr(thing, "__func__", thing)
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            new = self._new(value)
            if new is not value:
                cell.cell_contents = new
            self.convert(new)
        if isinstance(thing, types.MethodType):
            self.convert(thing.__self__)

    def _replace(self, values: dict[Any, Any]) -> None:
        for key, value in list(values.items()):
            new = self._new(value)
            if new is not value:
                values[key] = new
            self.convert(new)

    def _new(self, value: Any) -> Any:
        if isinstance(value, torch.device):
            return self.device
        if not isinstance(value, Tensor) or value.is_meta:
            return value
        if id(value) not in self.done:
            made = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=self.device)
            if isinstance(value, nn.Parameter):
                made = nn.Parameter(made, requires_grad=value.requires_grad)
            self.done[id(value)] = made
            self.done[id(made)] = made
            # Keeps the address of what was replaced from being given to another tensor.
            self.done[-id(value)] = value
        return self.done[id(value)]
