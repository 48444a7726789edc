"""Old spellings of torch and timm work while the fixes are on, and only then."""

import importlib
import sys
import warnings

import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler

from insightface_cakd.hosts.compat import applied
from insightface_cakd.hosts.compat.torch_names import AMP_NAMES, SCHEDULER_VERBOSE, TIMM_LAYERS


class Constant(LRScheduler):
    """A schedule that hands `verbose` on, as arcface_torch's does."""

    def __init__(self, optimizer, last_epoch=-1, verbose=False):
        super().__init__(optimizer, last_epoch=last_epoch, verbose=verbose)

    def get_lr(self):
        return [group["lr"] for group in self.optimizer.param_groups]


def optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)


def test_schedulers_take_verbose():
    with pytest.raises(TypeError, match="verbose"):
        Constant(optimizer())
    with applied([SCHEDULER_VERBOSE]):
        scheduler = Constant(optimizer(), verbose=True)
        assert scheduler.get_last_lr() == [0.5]
    with pytest.raises(TypeError, match="verbose"):
        Constant(optimizer())


def test_timms_layers_have_their_old_name_without_a_warning():
    import timm.layers

    before = sys.modules.pop("timm.models.layers", None)
    try:
        with applied([TIMM_LAYERS]) as chosen, warnings.catch_warnings():
            warnings.simplefilter("error")
            assert chosen == [TIMM_LAYERS]
            assert importlib.import_module("timm.models.layers").DropPath is timm.layers.DropPath
        assert "timm.models.layers" not in sys.modules
    finally:
        if before is not None:
            sys.modules["timm.models.layers"] = before


@pytest.mark.parametrize("available", [False, True])
def test_amp_under_its_old_names_does_the_same_without_a_warning(available, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)

    def build():
        scaler = torch.cuda.amp.grad_scaler.GradScaler(growth_interval=100)
        contexts = [torch.cuda.amp.autocast(enabled) for enabled in (False, True)]
        states = [(one.device, one.fast_dtype, one._enabled, one._cache_enabled) for one in contexts]
        return scaler.is_enabled(), scaler.get_scale(), scaler.state_dict(), states

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = build()
    with applied([AMP_NAMES]), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build() == old
        assert torch.cuda.amp.GradScaler is torch.cuda.amp.grad_scaler.GradScaler
    assert old[0] is available


def test_amp_works_as_a_decorator():
    with applied([AMP_NAMES]):

        @torch.cuda.amp.autocast(False)
        def double(x):
            return 2 * x

        assert double(torch.ones(1)).item() == 2
