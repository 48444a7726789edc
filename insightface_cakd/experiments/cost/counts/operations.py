"""Counts what the operators of a step compute, move and send."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from insightface_cakd.experiments.cost.counts.parts import Part, Parts

Kind = Literal["matrices", "convolution", "grouped convolution", "attention", "other"]
_aten = torch.ops.aten
_ATTENTION, _ATTENTION_BACKWARD = (
    _aten._scaled_dot_product_flash_attention_for_cpu,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward,
)
_CONVOLUTIONS = (_aten.convolution, _aten.convolution_backward)
# Of the first operand they read, or write, only as much as the last one has.
_READ_SOME = (_aten.index, _aten.index_select, _aten.gather, _aten.embedding)
_WRITE_SOME = (_aten.index_put_, _aten._index_put_impl_, _aten.scatter_, _aten.scatter_add_, _aten.index_add_)
# They make a tensor and write nothing.
_EMPTY = (_aten.empty, _aten.empty_strided, _aten.empty_like, _aten.new_empty, _aten.new_empty_strided)


@dataclass(frozen=True)
class Operation:
    """One call of an operator.

    Args:
        part: of the step.
        backward: whether the backward ran it.
        name: of the operator.
        kind: of its computation.
        dtype: in which it computes.
        flops: multiplications and additions of matrices, convolutions and attention; 0 for others.
        moved: bytes that it reads and writes.
        sent: bytes that this rank sends, of a collective.
    """

    part: Part
    backward: bool
    name: str
    kind: Kind
    dtype: torch.dtype
    flops: int = 0
    moved: int = 0
    sent: int = 0


class Operations(TorchDispatchMode):
    """Lists the operators that run while it is entered.

    Views are left out, since they cost nothing. A collective's bytes are those of a ring over R ranks: an all-reduce of n bytes sends
    2 n (R - 1) / R, an all-gather of n bytes a rank n (R - 1).

    Args:
        parts: tells whose operator runs.
        ranks: R.

    Attributes:
        done: the operators, in their order.
    """

    def __init__(self, parts: Parts, ranks: int) -> None:
        super().__init__()
        self.parts = parts
        self.ranks = ranks
        self.done: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and note it."""
        kwargs = kwargs or {}
        result = self.run(func, args, kwargs)
        packet = func._overloadpacket
        if func.namespace == "c10d":
            self._note(func, args, sent=_sent(packet.__name__, args, self.ranks))
        elif not func.is_view and packet not in _EMPTY and func.namespace != "prim":
            self._note(func, args, flops(packet, args, kwargs, result), moved(packet, (args, kwargs), result))
        return result

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Return what an operator answers."""
        return func(*args, **kwargs)

    def _note(self, func: Any, args: Any, computed: int = 0, transferred: int = 0, sent: int = 0) -> None:
        part, backward = self.parts.now()
        packet = func._overloadpacket
        operands = _tensors(args)
        dtype = operands[0].dtype if operands else torch.get_default_dtype()
        kind = kind_of(packet, args)
        self.done.append(Operation(part, backward, packet.__name__, kind, dtype, computed, transferred, sent))


def kind_of(packet: Any, args: Sequence[Any]) -> Kind:
    """Return what kind of computation an operator does."""
    if packet in _CONVOLUTIONS:
        return "grouped convolution" if args[-2 if packet is _aten.convolution_backward else -1] > 1 else "convolution"
    if packet in (_ATTENTION, _ATTENTION_BACKWARD) or "attention" in packet.__name__:
        return "attention"
    return "matrices" if packet in flop_registry else "other"


def flops(packet: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> int:
    """Return an operator's floating-point operations, two for a multiplication with its addition.

    As torch counts them, but for convolutions: torch counts the backward of a grouped one as if it had a single group.
    """
    if packet is _aten.convolution:
        return 2 * len(args[0]) * prod(result.shape[2:]) * args[1].numel()
    if packet is _aten.convolution_backward:
        wanted = sum(args[-1][:2])
        return wanted * 2 * len(args[0]) * prod(args[0].shape[2:]) * args[2].numel()
    if packet is _ATTENTION:
        return sdpa_flop_count(*(one.shape for one in args[:3]))
    if packet is _ATTENTION_BACKWARD:
        return sdpa_backward_flop_count(*(one.shape for one in args[:4]))
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result))
    return 0


def moved(packet: Any, given: Any, result: Any) -> int:
    """Return the bytes that an operator reads and writes."""
    operands, results = _tensors(given), _tensors(result)
    if packet in _READ_SOME:
        return sum(map(_bytes, [*operands[1:], *results, *results]))
    if packet in _WRITE_SOME:
        return sum(map(_bytes, [*operands[1:], operands[-1], operands[-1]]))
    return sum(map(_bytes, [*operands, *results]))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    # An expanded tensor repeats what its storage has once.
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _sent(name: str, args: Sequence[Any], ranks: int) -> int:
    """Return the bytes that a rank sends in a collective."""
    if name == "allreduce_":
        return sum(map(ring_all_reduce, map(_bytes, args[0]), [ranks] * len(args[0])))
    if name == "allgather_":
        return sum(map(_bytes, args[1])) * (ranks - 1)
    raise NotImplementedError(f"bytes of the collective {name}")


def ring_all_reduce(size: int, ranks: int) -> int:
    """Return the bytes that a rank sends in a ring's all-reduce."""
    return 2 * size * (ranks - 1) // ranks
