"""Fixes that arcface_torch needs, applied only where its code runs."""

import atexit
from contextlib import ExitStack

from insightface_cakd.hosts.compat.checkpoints import CHECKPOINTS
from insightface_cakd.hosts.compat.cuda import CPU_FILES, CPU_STREAMS, CPU_TENSORS, DDP_DEVICES, GLOO, SEED_DEVICE
from insightface_cakd.hosts.compat.export import EXPORT_BATCH
from insightface_cakd.hosts.compat.fix import Fix, applied, are_applied
from insightface_cakd.hosts.compat.labels import CHECKPOINT_LABELS
from insightface_cakd.hosts.compat.mxnet import MXNET
from insightface_cakd.hosts.compat.numpy_names import NUMPY_NAMES
from insightface_cakd.hosts.compat.processes import PROCESS_ERRORS
from insightface_cakd.hosts.compat.results import FIRST_STEP_LR, MEAN_BATCH_NORM, MEAN_GRADIENT, OWN_CENTRES
from insightface_cakd.hosts.compat.science import INTERP1D, MENPO, PTFLOPS, SKIMAGE, SKLEARN
from insightface_cakd.hosts.compat.stopping import ONE_RUN, STOP_SIGNALS, WORKER_PATIENCE
from insightface_cakd.hosts.compat.torch_names import AMP_NAMES, SCHEDULER_VERBOSE, TIMM_LAYERS
from insightface_cakd.hosts.compat.training import FREE_PORT, LOADER_ERRORS

FIXES: tuple[Fix, ...] = (
    MXNET,
    NUMPY_NAMES,
    INTERP1D,
    SKIMAGE,
    SKLEARN,
    MENPO,
    PTFLOPS,
    EXPORT_BATCH,
    PROCESS_ERRORS,
    SCHEDULER_VERBOSE,
    TIMM_LAYERS,
    AMP_NAMES,
    GLOO,
    CPU_TENSORS,
    CPU_STREAMS,
    DDP_DEVICES,
    SEED_DEVICE,
    CPU_FILES,
    FREE_PORT,
    LOADER_ERRORS,
    WORKER_PATIENCE,
    STOP_SIGNALS,
    ONE_RUN,
    # Labels are compared in what CHECKPOINTS reads, and so come after it.
    CHECKPOINTS,
    CHECKPOINT_LABELS,
    FIRST_STEP_LR,
    MEAN_GRADIENT,
    OWN_CENTRES,
    MEAN_BATCH_NORM,
)

__all__ = ["FIXES", "Fix", "applied", "apply_until_exit"]


def apply_until_exit() -> None:
    """Apply the fixes that this process needs, until it ends.

    This is the first line of a patched script, or of a script of your own. Fixes that change results stay off. Where
    fixes are already applied, as in `cakd train --host`, nothing more happens.
    """
    if not are_applied():
        stack = ExitStack()
        stack.enter_context(applied(FIXES))
        atexit.register(stack.close)
