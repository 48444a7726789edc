"""A training step on tensors without data: any size, on any machine.

`FakeTensorMode` runs every operator on shapes alone, so that networks and heads of any size fit, and what a GPU would refuse or wait for
shows without one: it refuses operands on two devices, and it cannot answer a read of a value (`.item()`, `nonzero`, an index by a mask).
"""

import functools
import gc
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.steps import TrainingStep
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.runtime.ranks import has_group

OURS = ("insightface_cakd",)


class NoData:
    """Makes networks without data, and takes the data from steps.

    What is built from such networks, such as projectors by the shapes of a blank image, may have data: `taken` replaces it.
    """

    def __init__(self) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.head = _head_without_data(self)

    def network(self, build: Callable[[], nn.Module]) -> nn.Module:
        """Return a network without data; nothing of its size is allocated.

        Args:
            build: makes the network, by the usual functions of torch.
        """
        with torch.device("meta"):
            network = build()
        with self.mode:
            for module in network.modules():
                for name, parameter in module._parameters.items():
                    module._parameters[name] = None if parameter is None else _empty_parameter(parameter, "cpu")
                for name, buffer in module._buffers.items():
                    module._buffers[name] = None if buffer is None else _empty(buffer, "cpu")
        # Moves, and changes of layout that it has already, would swap parameters in a way that is not for these.
        network._apply = lambda fn, recurse=True: network  # type: ignore[method-assign]
        return network

    def tensor(self, *shape: int) -> Tensor:
        """Return a float32 tensor without data."""
        with self.mode:
            return torch.empty(*shape)

    @contextmanager
    def taken(self, steps: Iterable[Any], device: str, own: tuple[str, ...] = OURS) -> Iterator[None]:
        """Take the data from steps that were built on the CPU.

        All that they reach gets tensors of the same shapes and layouts.

        Args:
            steps: calls, `TrainingStep`s among them.
            device: of the new tensors.
            own: packages whose objects are searched for tensors.
        """
        steps = list(steps)
        _forget_constants(own)
        try:
            conversion = _Conversion(torch.device(device), own)
            with self.mode:
                for step in steps:
                    conversion.convert(step)
                    if isinstance(step, TrainingStep):
                        step.optimizer = step.new_optimizer()
                # From here on a tensor with data is a fault.
                self.mode.allow_non_fake_inputs = False
                with _no_check_of_values():
                    yield
        finally:
            _forget_constants(own)


def tensors_of(step: Any) -> list[Tensor]:
    """Return the tensors that a step without data reaches, each once.

    Args:
        step: inside `NoData.taken`; the state of its optimiser is not among them.
    """
    conversion = _Conversion(torch.device("cpu"), OURS)
    conversion.convert(step)
    return list(conversion.found.values())


@contextmanager
def ranks_that_answer_nothing(count: int) -> Iterator[None]:
    """Be the first of so many ranks, whose collectives send nothing."""
    if count == 1:
        yield
        return
    if has_group():
        raise RunError(
            "ranks: this process is a rank of a run already; expected a process of its own. Start it without torchrun."
        )
    # The backend `fake` exists once this is imported.
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=count, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def _no_check_of_values() -> Iterator[None]:
    """Leave out the look for NaN, which a GPU has every ten steps."""
    check = DistillationStep.check_finite
    DistillationStep.check_finite = lambda self: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        DistillationStep.check_finite = check  # type: ignore[method-assign]


def _forget_constants(own: tuple[str, ...]) -> None:
    """Empty caches of functions: a constant made here has no data, and one made before is real."""
    for thing in gc.get_objects():
        # By its type: isinstance asks some objects of torch for more than their class.
        if type(thing) is functools._lru_cache_wrapper and (thing.__module__ or "").startswith(own):
            thing.cache_clear()


def _head_without_data(maker: NoData) -> type[nn.Module]:
    class HeadWithoutData(PartialFC_V2):
        """The embedded host's head, whose class centres have no data."""

        def _initial_rows(self) -> Tensor:
            return maker.tensor(self.num_local, self.embedding_size)

        def _apply(self, fn: Any, recurse: bool = True) -> "HeadWithoutData":
            return self

    return HeadWithoutData


def _empty(like: Tensor, device: torch.device | str) -> Tensor:
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=device)


def _empty_parameter(like: Tensor, device: torch.device | str) -> nn.Parameter:
    return nn.Parameter(_empty(like, device), requires_grad=like.requires_grad)


class _Conversion:
    """Replaces tensors and devices in place; each object is looked at once, and a tensor that two share stays shared."""

    def __init__(self, device: torch.device, own: tuple[str, ...]) -> None:
        self.device = device
        self.own = own
        self.done: dict[int, Any] = {}
        self.found: dict[int, Tensor] = {}

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
            self._convert_each(vars(thing).values() if thing.__module__.startswith(self.own) else ())
        elif isinstance(thing, nn.Module) or type(thing).__module__.startswith(self.own):
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
        if not isinstance(value, Tensor):
            return value
        if isinstance(value, FakeTensor) and value.device.type == self.device.type:
            self.found[id(value)] = value
            return value
        if id(value) not in self.done:
            is_parameter = isinstance(value, nn.Parameter)
            made = _empty_parameter(value, self.device) if is_parameter else _empty(value, self.device)
            self.done[id(value)] = made
            self.done[id(made)] = made
            # Keeps the address of what was replaced from being given to another tensor.
            self.done[-id(value)] = value
        return self.done[id(value)]
