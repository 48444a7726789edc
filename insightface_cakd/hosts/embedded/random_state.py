"""The state of all random generators of training, for a checkpoint."""

import random
from typing import Any

import numpy as np
import torch


def rng_state() -> dict[str, Any]:
    """Return the state of every generator that training uses.

    It consists of tensors and plain numbers.
    """
    numpy = np.random.get_state(legacy=False)
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
            numpy["state"]["pos"],
            numpy["has_gauss"],
            numpy["gauss"],
        ],
        "python": [version, list(numbers), gauss],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Restore every generator to a state from `rng_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
