"""A checkpoint of some ranks, divided anew among others.

Student, schedule and the method's state are the same on all ranks. What belongs to classes, rows of the head and their optimiser
state, is divided among the ranks: it is put together and divided again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.generations import Generation
from insightface_cakd.runtime.ranks import rank, world_size

# The head of arcface_torch: its one parameter has a row for each class.
HOSTS_HEAD = {"weight": 0}
BY_CLASS = "by_class"
_METHOD = "cakd."


def rows_by_class(head: nn.Module) -> dict[str, int]:
    """Return the parameters of a head whose rows are its classes.

    Those are the parameters of modules that know their share of the classes, `num_local`.

    Args:
        head: of a run, or a part of one.

    Returns:
        Position among the head's parameters, by name in its state.
    """
    owners = {
        id(own) for part in head.modules() if hasattr(part, "num_local") for own in part.parameters(recurse=False)
    }
    return {name: place for place, (name, value) in enumerate(head.named_parameters()) if id(value) in owners}


def share_of(classes: int, ranks: int, rank: int) -> slice:
    """Return a rank's rows of all classes, as arcface_torch divides them."""
    share, rest = divmod(classes, ranks)
    start = share * rank + min(rank, rest)
    return slice(start, start + share + int(rank < rest))


def for_this_rank(generation: Generation, where: str) -> dict[str, Any]:
    """Return this rank's part of a checkpoint, divided anew if need be.

    Args:
        generation: of any number of ranks.
        where: names what asked for it, in the line that says so.
    """
    saved = len(generation.files)
    if saved == world_size():
        return generation.read(rank())
    if rank() == 0:
        print(f"{where}: the checkpoint is of {saved} ranks, divided among {world_size()} now", flush=True)
    # What is kept as it is comes from the first file, and must not stay in it.
    return reshard([generation.read(number, lazily=number > 0) for number in range(saved)], world_size(), rank())


def reshard(contents: Sequence[Mapping[str, Any]], ranks: int, rank: int) -> dict[str, Any]:
    """Return one rank's checkpoint, made of those of others.

    Args:
        contents: of every saved rank's file, in the order of the ranks.
        ranks: how many ranks go on.
        rank: which of them this is.

    Raises:
        RunError: the saved head is not divided by classes in a way that is known.
    """
    first = contents[0]
    by_class = _by_class(first)
    merged = dict(first)
    heads = [content["state_dict_softmax_fc"] for content in contents]
    merged["state_dict_softmax_fc"] = heads[0] | {
        name: _divided([head[name] for head in heads], ranks, rank, name) for name in by_class
    }
    merged["state_optimizer"] = _optimizer([content["state_optimizer"] for content in contents], by_class, ranks, rank)
    return merged


def _by_class(content: Mapping[str, Any]) -> Mapping[str, int]:
    said = content.get(BY_CLASS)
    if said is not None:
        return dict(said)
    names = [name for name in content["state_dict_softmax_fc"] if not name.startswith(_METHOD)]
    if names != list(HOSTS_HEAD):
        raise RunError(
            f"--resume: the checkpoint's head has {', '.join(names) or 'no state'}, and does not say what of it belongs to classes; "
            "expected arcface_torch's head for another number of ranks. Use as many ranks as the run had."
        )
    return HOSTS_HEAD


def _optimizer(
    states: Sequence[Mapping[str, Any]], by_class: Mapping[str, int], ranks: int, rank: int
) -> dict[str, Any]:
    """Return an optimiser's state; the head's group is its last."""
    places = states[0]["param_groups"][-1]["params"]
    merged = dict(states[0]["state"])
    for name, place in by_class.items():
        key = places[place]
        # The optimiser has no state for frozen rows.
        if key not in merged:
            continue
        saved = [state["state"][key] for state in states]
        merged[key] = {
            part: _divided([one[part] for one in saved], ranks, rank, name)
            if isinstance(value, Tensor) and value.dim() > 0
            else value
            for part, value in saved[0].items()
        }
    return {**states[0], "state": merged}


def _divided(parts: Sequence[Tensor], ranks: int, rank: int, name: str) -> Tensor:
    """Return a rank's rows of what all ranks had."""
    classes = sum(len(part) for part in parts)
    wanted = [share_of(classes, len(parts), number) for number in range(len(parts))]
    if [len(part) for part in parts] != [rows.stop - rows.start for rows in wanted]:
        raise RunError(
            f"--resume: the ranks' checkpoints have {', '.join(str(len(part)) for part in parts)} rows of {name}; expected {classes} "
            "classes divided evenly. Use as many ranks as the run had."
        )
    mine = share_of(classes, ranks, rank)
    # Only this rank's rows are read: the parts may still lie in their files.
    return torch.cat(
        [
            part[max(mine.start - rows.start, 0) : max(mine.stop - rows.start, 0)]
            for part, rows in zip(parts, wanted, strict=True)
        ]
    )
