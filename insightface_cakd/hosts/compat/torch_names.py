"""Names and arguments that torch and timm have removed or will remove."""

import importlib.util
import inspect
import sys
from contextlib import ExitStack
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from insightface_cakd.hosts.compat.fix import Fix, replace, wrapping

OLD_LAYERS = "timm.models.layers"


def _verbose_is_gone() -> str | None:
    known = "verbose" in inspect.signature(LRScheduler.__init__).parameters
    return None if known else f"torch {torch.__version__}: LRScheduler takes no verbose"


def _take_verbose(stack: ExitStack) -> None:
    @wrapping(LRScheduler, "__init__", stack)
    def construct(original: Any, self: Any, *args: Any, verbose: bool = False, **kwargs: Any) -> None:
        original(self, *args, **kwargs)


def _layers_moved() -> str | None:
    if importlib.util.find_spec("timm") is None or importlib.util.find_spec("timm.layers") is None:
        return None
    return None if OLD_LAYERS in sys.modules else "timm >= 0.9: its layers are in timm.layers"


def _keep_layers(stack: ExitStack) -> None:
    """Serve `timm.layers` under its old name, which timm has with a warning or no longer."""
    import timm.layers
    import timm.models

    sys.modules[OLD_LAYERS] = timm.layers
    stack.callback(sys.modules.pop, OLD_LAYERS, None)
    replace(stack, timm.models, "layers", timm.layers)


def _amp_is_old() -> str | None:
    # torch.amp.GradScaler came with the deprecation.
    return f"torch {torch.__version__}: torch.cuda.amp is deprecated" if hasattr(torch.amp, "GradScaler") else None


def _autocast(enabled: bool = True, dtype: torch.dtype = torch.float16, cache_enabled: bool = True) -> torch.autocast:
    """Return what torch.cuda.amp.autocast returned; without CUDA it does nothing, and does not warn."""
    return torch.amp.autocast("cuda", dtype, bool(enabled) and torch.cuda.is_available(), cache_enabled)


def _grad_scaler(
    init_scale: float = 2.0**16,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int = 2000,
    enabled: bool = True,
) -> torch.amp.GradScaler:
    enabled = enabled and torch.cuda.is_available()
    return torch.amp.GradScaler("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


def _use_amp(stack: ExitStack) -> None:
    for owner in (torch.cuda.amp, torch.cuda.amp.autocast_mode):
        replace(stack, owner, "autocast", _autocast)
    for owner in (torch.cuda.amp, torch.cuda.amp.grad_scaler):
        replace(stack, owner, "GradScaler", _grad_scaler)


SCHEDULER_VERBOSE = Fix(
    name="scheduler-verbose",
    breaks="lr_scheduler.py:7-8: LRScheduler.__init__ got an unexpected keyword argument 'verbose'",
    since="torch 2.7",
    fix="schedulers take `verbose` and ignore it",
    until="arcface_torch no longer passes it",
    applies=_verbose_is_gone,
    apply=_take_verbose,
)
TIMM_LAYERS = Fix(
    name="timm-layers",
    breaks="backbones/vit.py:3: timm.models.layers warns and is to be removed",
    since="timm 0.9",
    fix="timm.layers under its old name",
    until="arcface_torch imports timm.layers",
    applies=_layers_moved,
    apply=_keep_layers,
)
AMP_NAMES = Fix(
    name="amp-names",
    breaks="train_v2.py:174, partial_fc_v2.py:157, backbones/*.py: torch.cuda.amp warns at every use and is to be removed",
    since="torch 2.4",
    fix="torch.amp's autocast and GradScaler under their old names",
    until="arcface_torch uses torch.amp",
    applies=_amp_is_old,
    apply=_use_amp,
)
