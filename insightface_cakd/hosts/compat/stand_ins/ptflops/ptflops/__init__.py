"""The part of ptflops that arcface_torch uses, counted by torch itself."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def get_model_complexity_info(
    model: nn.Module,
    input_res: tuple[int, ...],
    print_per_layer_stat: bool = True,
    as_strings: bool = True,
    verbose: bool = False,
    **_: Any,
) -> tuple[float | str, float | str]:
    """Return multiply-adds for one image, and the number of parameters.

    Counts convolutions, matrix products and attention, which are nearly all the work; ptflops also counts
    normalisations and activations, so its number is a little larger. `as_strings` gives texts with units.
    """
    training = model.training
    counter = FlopCounterMode(depth=2, display=False)
    try:
        with torch.no_grad(), counter:
            model.eval()(torch.zeros(1, *input_res, device=next(model.parameters()).device))
    finally:
        model.train(training)
    multiply_adds = counter.get_total_flops() / 2
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if print_per_layer_stat:
        print(counter.get_table())
    if verbose:
        print("ptflops is not installed: counted by torch.utils.flop_counter, convolutions and matrix products only")
    if as_strings:
        return f"{multiply_adds / 1e9:.2f} GMac", f"{parameters / 1e6:.2f} M"
    return multiply_adds, parameters
