"""Taps: named activations of a network, by module path."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from insightface_cakd.errors import TapError, did_you_mean
from insightface_cakd.teachers.base import Teacher


class Taps:
    """Record the outputs of named modules during a `with` block.

    Hooks exist only inside the block. Each tap must fire exactly once per block: a module that is not called, or is called again by a
    recomputing checkpoint, cannot be compared with anything. Paths, as in `network.named_modules()`, may repeat; one that does not exist is
    a TapError that suggests the nearest ones.
    """

    def __init__(self, network: nn.Module, paths: Iterable[str]) -> None:
        modules = dict(network.named_modules())
        self.paths = list(dict.fromkeys(paths))
        for path in self.paths:
            if path not in modules or not path:
                examples = [name for name in modules if name and name.count(".") <= 1][:6]
                raise TapError(
                    f"tap '{path}': module not found in {type(network).__name__}; expected a module path such as "
                    f"{', '.join(examples)}.{did_you_mean(path, modules)}"
                )
        self._modules = {path: modules[path] for path in self.paths}
        self._handles: list[RemovableHandle] = []
        self._outputs: dict[str, list[tuple[Tensor, int]]] = {}

    def __enter__(self) -> "Taps":
        self._outputs = {path: [] for path in self.paths}
        self._handles = [module.register_forward_hook(self._hook(path)) for path, module in self._modules.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._outputs = [], {}

    def collect(self) -> dict[str, Tensor]:
        """Return path -> output of the forward that just ran.

        A tap that did not fire exactly once, gave no tensor, or was overwritten in place after it fired is a TapError.
        """
        return {path: self._one(path, fired) for path, fired in self._outputs.items()}

    def _hook(self, path: str) -> Callable[..., None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise TapError(
                    f"tap '{path}': {type(module).__name__} gives a {type(output).__name__}; expected one tensor. "
                    "Tap a module inside or after it."
                )
            self._outputs[path].append((output, output._version))

        return record

    @staticmethod
    def _one(path: str, fired: list[tuple[Tensor, int]]) -> Tensor:
        if len(fired) != 1:
            raise TapError(
                f"tap '{path}': fired {len(fired)} times in one forward; expected exactly once. "
                "Tap a module that the forward calls once, outside recomputed (checkpointed) blocks."
            )
        output, version = fired[0]
        if output._version != version:
            raise TapError(
                f"tap '{path}': its output was overwritten in place after it fired (an in-place add or activation follows); "
                "expected it to stay. Tap the enclosing block instead."
            )
        return output


def teacher_taps(teacher: Teacher, paths: list[str]) -> Taps:
    """Return a teacher's taps; refuse them if it has no modules."""
    if paths and teacher.compiled:
        raise TapError(
            f"teacher tap '{paths[0]}': teacher {teacher.name} is compiled, and shows no activations; expected teacher.compile with terms "
            "on the embedding only. Remove teacher.compile."
        )
    if paths and teacher.network is None:
        raise TapError(
            f"teacher tap '{paths[0]}': teacher {teacher.name} gives embeddings only, it has no modules to tap; "
            "expected a torch teacher. Leave the term's `teacher` out to use the embedding, or use a torch teacher."
        )
    return Taps(teacher.network if teacher.network is not None else nn.Identity(), paths)
