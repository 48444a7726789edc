"""NumPy's removed names of Python's own types."""

from contextlib import ExitStack

import numpy as np

from insightface_cakd.hosts.compat.fix import Fix, replace

# What they stood for in NumPy < 1.24. Where a later NumPy gave a name another meaning (np.bool, np.long), that stays.
NAMES = {kind.__name__: kind for kind in (bool, complex, float, int, object, str)} | {"long": int, "unicode": str}


def _missing() -> list[str]:
    # vars, not hasattr: NumPy warns when it is asked for one of these names.
    return sorted(name for name in NAMES if name not in vars(np))


def _needed() -> str | None:
    missing = _missing()
    return f"NumPy {np.__version__} has no np.{', np.'.join(missing)}" if missing else None


def _apply(stack: ExitStack) -> None:
    for name in _missing():
        replace(stack, np, name, NAMES[name])


NUMPY_NAMES = Fix(
    name="numpy-names",
    breaks="np.int: eval_ijbc.py:123-138, onnx_ijbc.py:81-90, utils/plot.py:20-22, ../_evaluation_/ijb/ijb_onnx.py:80-89, "
    "ijb_11.py:54-69, ijb_1n.py:25-41; np.float: torch2onnx.py:9",
    since="NumPy 1.24",
    fix="the removed names are Python's own types again",
    until="arcface_torch writes int and float",
    applies=_needed,
    apply=_apply,
)
