"""FaceBN: batch norms that follow the faces of the test, without training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from insightface_cakd.errors import EvaluationError


@contextmanager
def face_batch_norm(network: object, share: float) -> Iterator[None]:
    """Let batch norms use statistics of the test, during a block.

    In each batch norm, per channel, with the mean and the biased variance of the current batch:

    mean = (1 - e) mean_train + e mean_batch, variance = (1 - e) variance_train + e variance_batch

    Scale and shift stay, and so do the saved statistics. Each batch is on its own: what came before has no effect. The result therefore
    depends on what is in a batch; mix the faces, keep the batches equal in size, and report the result without it too.

    Args:
        network: a module in eval mode, with batch norms.
        share: e, in [0, 1]; 0 is eval mode, 1 is the normalisation of training.

    Raises:
        EvaluationError: the share is out of range, the network has no batch norm that can follow, or a batch has one image.

    Source:
        FaceBN of AIRD (2409.02049), in words; the formula is an assumption.
    """
    norms = following_norms(network, share)
    try:
        for norm in norms:
            norm.forward = _forward(norm, share)  # type: ignore[method-assign,assignment]
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)


def following_norms(network: object, share: float) -> list[_BatchNorm]:
    """Return the batch norms that can follow; refuse a network without."""
    if isinstance(share, bool) or not 0 <= share <= 1:
        raise EvaluationError(f"--face-bn {share}: expected a share of the test's statistics, from 0 to 1. Try 0.5.")
    modules = network.modules() if isinstance(network, nn.Module) else ()
    norms = [module for module in modules if isinstance(module, _BatchNorm) and module.running_mean is not None]
    if not norms:
        raise EvaluationError(
            "--face-bn: the model has no batch norm with statistics; expected a network of torch. Give a run's folder, or weights "
            "with --network; in an .onnx, batch norms are part of the convolutions."
        )
    return norms


def _forward(norm: _BatchNorm, share: float) -> Callable[[Tensor], Tensor]:
    def forward(activation: Tensor) -> Tensor:
        if len(activation) < 2:
            raise EvaluationError(
                "--face-bn: a batch of one image; expected at least two, from whose pixels statistics are taken. Give more at a time."
            )
        others = [axis for axis in range(activation.dim()) if axis != 1]
        variance, mean = torch.var_mean(activation.detach(), dim=others, correction=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return batch_norm(
            activation,
            torch.lerp(norm.running_mean, mean.to(norm.running_mean), share),
            torch.lerp(norm.running_var, variance.to(norm.running_var), share),
            norm.weight,
            norm.bias,
            eps=norm.eps,
        )

    return forward
