"""Which part of a step an operator belongs to, forward and backward."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import nn

Part = Literal["student", "teacher", "method", "head", "update"]
PARTS: tuple[Part, ...] = ("student", "teacher", "method", "head", "update")


class Parts:
    """Knows the part of the operator that runs now.

    Forward: the innermost module that was marked. Backward: the part in which the node of the graph was made, which its sequence number
    tells, recomputed activations included. Outside all marked modules: `update`, the clipping and the optimiser.
    """

    def __init__(self) -> None:
        self._open: list[Part] = ["update"]
        # From which sequence number on nodes are of which part.
        self._starts: list[int] = []
        self._parts: list[Part] = []

    def now(self) -> tuple[Part, bool]:
        """Return whose operator runs, and whether a backward runs it."""
        node = torch._C._current_autograd_node()
        if node is None:
            return self._open[-1], False
        found = bisect_right(self._starts, node._sequence_nr()) - 1
        return (self._parts[found] if found >= 0 else self._open[-1]), True

    @contextmanager
    def marked(self, modules: dict[nn.Module, Part], heads: type[nn.Module]) -> Iterator[None]:
        """Note which part runs, within a `with` block.

        Args:
            modules: what each of them runs is of that part, unless a module inside it says otherwise.
            heads: class of the host's head; its own forward is of the part `head`, wherever a subclass calls it.
        """
        forward = heads.forward

        def counted(head: nn.Module, *args: Any) -> Any:
            self._enter("head")
            try:
                return forward(head, *args)
            finally:
                self._leave()

        with ExitStack() as stack:
            heads.forward = counted
            stack.callback(setattr, heads, "forward", forward)
            for module, part in modules.items():
                before = module.register_forward_pre_hook(lambda *_, part=part: self._enter(part))
                after = module.register_forward_hook(lambda *_: self._leave(), always_call=True)
                stack.callback(before.remove)
                stack.callback(after.remove)
            yield

    def _enter(self, part: Part) -> None:
        self._open.append(part)
        self._note()

    def _leave(self) -> None:
        self._open.pop()
        self._note()

    def _note(self) -> None:
        self._starts.append(torch._C._autograd._get_sequence_nr())
        self._parts.append(self._open[-1])
