"""Networks of timm as backbones, and a small Swin for CPUs."""

from timm.models.swin_transformer import SwinTransformer
from torch import nn

from insightface_cakd.errors import RunError
from insightface_cakd.networks.timm_networks import TIMM, TimmFace, timm_face

SIZE = 112


def timm_backbone(name: str, num_features: int = 512, fp16: bool = False) -> nn.Module:
    """Return `timm:NAME` for 112 x 112 faces with arcface_torch's embedding head.

    Args:
        name: `timm:` and a name of `timm.list_models()`.
    """
    return timm_face(name.removeprefix(TIMM), num_features, SIZE, RunError, fp16)


def swin_tiny(num_features: int = 512, fp16: bool = False) -> TimmFace:
    """Return a small Swin Transformer; `fp16` is for its body.

    Patches of 4 x 4 pixels, maps of 28 x 28, 14 x 14 and 7 x 7, and two blocks at each, the second with shifted
    windows.
    """
    body = SwinTransformer(
        img_size=SIZE,
        patch_size=4,
        num_classes=0,
        global_pool="",
        embed_dim=32,
        depths=(2, 2, 2),
        num_heads=(2, 4, 8),
        window_size=7,
        drop_path_rate=0.0,
    )
    return TimmFace(body, num_features, SIZE, fp16)
