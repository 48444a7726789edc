"""Finds a network's keys under a prefix."""

from collections import Counter
from collections.abc import Iterable

from torch import Tensor

from insightface_cakd.errors import TeacherError

# What torch.compile puts before the name of a module, anywhere in a key.
_COMPILED = "_orig_mod."
COUNTER = "num_batches_tracked"


def under_prefix(state: dict[str, Tensor], own: Iterable[str], where: str) -> tuple[str, dict[str, Tensor]]:
    """Return the prefix of a network's keys, and the state below it.

    It is the one below which the file has exactly the network's keys; where there is none, the one with the most of them. Keys
    elsewhere, as those of a head, are left out. The counters of batch norms may be missing.

    Args:
        state: as `read_state` gives it.
        own: keys of the network.
        where: the file, for errors.

    Raises:
        TeacherError: the file has the network's keys several times.
    """
    names = set(own)
    if not any(_COMPILED in name for name in names):
        state = {key.replace(_COMPILED, ""): value for key, value in state.items()}
    found = Counter(
        key[:start]
        for key in state
        for start in (0, *(place + 1 for place, letter in enumerate(key) if letter == "."))
        if key[start:] in names
    )
    needed = {name for name in names if not name.endswith(COUNTER)}
    below = {prefix: {key[len(prefix) :] for key in state if key.startswith(prefix)} for prefix in found}
    exact = [prefix for prefix, keys in below.items() if needed <= keys <= names]
    if len(exact) > 1 and "" not in exact:
        raise TeacherError(
            f"{where}: holds this network {len(exact)} times ({', '.join(prefix.rstrip('.') for prefix in exact)}); expected it once. "
            "Save the one that is meant."
        )
    prefix = "" if "" in exact or not found else next(iter(exact), max(found, key=lambda one: (found[one], -len(one))))
    return prefix, {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
