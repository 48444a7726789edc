"""mxnet's calls, served by our own reader."""

import importlib
import importlib.util
import os
import sys

from insightface_cakd.errors import in_one_line
from insightface_cakd.hosts.compat.fix import Fix
from insightface_cakd.hosts.compat.stand_ins import stand_in

FORCE = "CAKD_MXNET_STAND_IN"


def _needed() -> str | None:
    """Return why the stand-in is needed; a real mxnet that imports is left alone unless `FORCE` is 1."""
    if os.environ.get(FORCE) == "1":
        return f"{FORCE}=1 asks for it"
    if "mxnet" in sys.modules:
        return None
    if importlib.util.find_spec("mxnet") is None:
        return "mxnet is not installed"
    before = set(sys.modules)
    try:
        importlib.import_module("mxnet")
    # An old mxnet fails in many ways: AttributeError from NumPy's removed names, OSError from its library.
    except Exception as error:
        for name in set(sys.modules) - before:
            if name.split(".")[0] == "mxnet":
                del sys.modules[name]
        return f"mxnet is installed but does not import ({type(error).__name__}: {in_one_line(error)[:100]})"
    return None


MXNET = Fix(
    name="mxnet",
    breaks="import mxnet: dataset.py:7, eval/verification.py:31, onnx_ijbc.py:7, scripts/shuffle_rec.py:6",
    since="NumPy 1.24; mxnet 1.9.1 is the last release",
    fix="mxnet's record, image and array calls are served by insightface_cakd.data; other calls raise an error that names "
    f"them. A real mxnet that imports is left alone, unless {FORCE}=1",
    until="arcface_torch no longer imports mxnet",
    applies=_needed,
    apply=lambda stack: stand_in(stack, "mxnet"),
)
