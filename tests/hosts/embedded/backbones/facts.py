"""What is known of arcface_torch's networks at num_features=512, so that the tests hold without a checkout of it."""

from typing import NamedTuple


class Size(NamedTuple):
    """How large a network is."""

    parameters: int
    state_keys: int


SIZES = {
    "r18": Size(24_025_600, 187),
    "r34": Size(34_139_328, 331),
    "r50": Size(43_590_848, 475),
    "r100": Size(65_156_160, 925),
    "r200": Size(118_833_920, 1807),
    "mbf": Size(2_059_520, 333),
    "mbf_large": Size(6_314_880, 606),
    "vit_t": Size(19_137_792, 150),
    "vit_t_dp005_mask0": Size(19_137_792, 150),
    "vit_s": Size(76_023_296, 150),
    "vit_s_dp005_mask_0": Size(76_023_296, 150),
    "vit_b": Size(113_833_472, 282),
    "vit_b_dp005_mask_005": Size(113_833_472, 282),
    "vit_l_dp005_mask_005": Size(255_684_352, 282),
    "vit_h": Size(756_393_984, 546),  # 11 keys for each of 48 blocks, 18 around them
}

# Width of the embedding is read off this weight of a checkpoint.
LAST_WEIGHT = {"r18": "features.weight", "mbf": "features.layers.3.weight", "vit_t": "feature.3.weight"}

# Shapes without the batch, in eval mode, from a 112 x 112 image.
TAPS = {
    "r18": {
        "prelu": (64, 112, 112),
        "layer1": (64, 56, 56),
        "layer2": (128, 28, 28),
        "layer3": (256, 14, 14),
        "layer4": (512, 7, 7),
        "bn2": (512, 7, 7),
        "dropout": (25088,),
        "fc": (512,),
        "features": (512,),
    },
    "mbf": {
        "layers.0": (128, 56, 56),
        "layers.1": (128, 56, 56),
        "layers.2": (128, 28, 28),
        "layers.3": (128, 28, 28),
        "layers.4": (256, 14, 14),
        "layers.5": (256, 14, 14),
        "layers.6": (256, 7, 7),
        "layers.7": (256, 7, 7),
        "conv_sep": (512, 7, 7),
        "features.layers.0": (512, 1, 1),
        "features": (512,),
    },
    "mbf_large": {
        "layers.1": (256, 56, 56),
        "layers.3": (256, 28, 28),
        "layers.5": (512, 14, 14),
        "layers.7": (512, 7, 7),
        "conv_sep": (512, 7, 7),
        "features": (512,),
    },
    "vit_t": {
        "patch_embed": (144, 256),
        "blocks.0": (144, 256),
        "blocks.11": (144, 256),
        "norm": (144, 256),
        "feature.0": (256,),
        "feature": (512,),
    },
}
