"""The embedded host's networks, by the names of arcface_torch.

Checkpoints of arcface_torch load into them, and theirs into arcface_torch's networks.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from insightface_cakd.errors import RunError, did_you_mean
from insightface_cakd.hosts.embedded.backbones.iresnet import IResNet
from insightface_cakd.hosts.embedded.backbones.mobilefacenet import MobileFaceNet
from insightface_cakd.hosts.embedded.backbones.timm_family import swin_tiny, timm_backbone
from insightface_cakd.hosts.embedded.backbones.tiny import SmallCNN, TinyViT
from insightface_cakd.hosts.embedded.backbones.vit import VisionTransformer
from insightface_cakd.networks.memory_layout import in_fast_layout
from insightface_cakd.networks.periocular import PeriocularNetwork
from insightface_cakd.networks.timm_networks import TIMM

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    # residual blocks at 56, 28, 14 and 7 pixels
    "r18": partial(IResNet, (2, 2, 2, 2)),
    "r34": partial(IResNet, (3, 4, 6, 3)),
    "r50": partial(IResNet, (3, 4, 14, 3)),
    "r100": partial(IResNet, (3, 13, 30, 3)),
    "r200": partial(IResNet, (6, 26, 60, 6)),
    "mbf": partial(MobileFaceNet, (1, 4, 6, 2), 2),
    "mbf_large": partial(MobileFaceNet, (2, 8, 12, 4), 4),
    # width, depth, drop path, mask ratio; vit_b and larger recompute their blocks in training to save memory
    "vit_t": partial(VisionTransformer, 256, 12, 0.1, 0.1),
    "vit_t_dp005_mask0": partial(VisionTransformer, 256, 12, 0.05, 0.0),
    "vit_s": partial(VisionTransformer, 512, 12, 0.1, 0.1),
    "vit_s_dp005_mask_0": partial(VisionTransformer, 512, 12, 0.05, 0.0),
    "vit_b": partial(VisionTransformer, 512, 24, 0.1, 0.1, checkpointed=True),
    "vit_b_dp005_mask_005": partial(VisionTransformer, 512, 24, 0.05, 0.05, checkpointed=True),
    "vit_l_dp005_mask_005": partial(VisionTransformer, 768, 24, 0.05, 0.05, checkpointed=True),
    "vit_h": partial(VisionTransformer, 1024, 48, 0.1, 0.0, checkpointed=True),
    # our own, small enough to train on a CPU in minutes
    "cnn_tiny": partial(SmallCNN, (0, 0, 0, 0)),
    "cnn_small": partial(SmallCNN, (0, 2, 3, 2), last=512),
    "mbf_small": partial(MobileFaceNet, (1, 2, 2, 1), 1),
    "vit_tiny": TinyViT,
    "swin_tiny": swin_tiny,
    # CKD's, of eye strip and face; they answer the strip's embedding, or by the same weights the face's
    "ckd": PeriocularNetwork,
    "ckd_face": partial(PeriocularNetwork, branch="face"),
    "ckd_tiny": partial(PeriocularNetwork, width=16, side=64),
    "ckd_tiny_face": partial(PeriocularNetwork, width=16, side=64, branch="face"),
}

_DEFAULTS: dict[str, Any] = {"num_features": 512, "fp16": False, "dropout": 0.0}


def get_model(name: str, **kwargs: Any) -> nn.Module:
    """Build a network by name, with random weights, in train mode.

    State-dict keys, their order and their shapes are arcface_torch's. Five things differ in training: convolutional networks come in
    channels-last layout (`in_fast_layout`), blocks are recomputed by the non-reentrant checkpoint, a ViT leaves out the share of tokens
    that its name states, half precision is used only when `fp16` asks for it, and `mask_token` is frozen in networks that mask nothing.

    Args:
        name: a key of `NETWORKS`, or `timm:NAME` for a network of timm.
        kwargs: `num_features`, width of the embedding (512); `fp16`, half precision on CUDA (False); `dropout`,
            probability of dropout before the last linear layer of the r-family (0.0).

    Raises:
        RunError: an unknown name or option, a value out of range, or dropout for a network that has none.
    """
    build = _network(name)
    options = _checked_options(name, kwargs)
    understood = inspect.signature(build).parameters
    if options["dropout"] and "dropout" not in understood:
        raise RunError(
            f"network {name}: dropout is {options['dropout']}, but this network has no dropout layer. "
            "Leave dropout at 0, or use one of the r-family."
        )
    return in_fast_layout(build(**{key: value for key, value in options.items() if key in understood}))


def _network(name: str) -> Callable[..., nn.Module]:
    """Return what builds the network of a name, or raise `RunError`."""
    if isinstance(name, str) and name.startswith(TIMM):
        return partial(timm_backbone, name)
    if name not in NETWORKS:
        known = f"{', '.join(NETWORKS)}, {TIMM}NAME"
        raise RunError(f"network: {name!r} is not a known network; known: {known}.{did_you_mean(str(name), NETWORKS)}")
    return NETWORKS[name]


def _checked_options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with their defaults, or raise `RunError`."""
    for key in given:
        if key not in _DEFAULTS:
            raise RunError(
                f"network {name}: {key} is not an option; known: {', '.join(_DEFAULTS)}.{did_you_mean(key, _DEFAULTS)}"
            )
    options = {**_DEFAULTS, **given}
    width, dropout = options["num_features"], options["dropout"]
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise RunError(f"network {name}: num_features is {width!r}; expected a whole number of at least 1.")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0.0 <= dropout < 1.0:
        raise RunError(f"network {name}: dropout is {dropout!r}; expected a number from 0 up to, not including, 1.")
    if not isinstance(options["fp16"], bool):
        raise RunError(f"network {name}: fp16 is {options['fp16']!r}; expected True or False.")
    return options
