"""Small Transformers of each kind, with weights that make every part of them matter."""

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from insightface_cakd.hosts.embedded.backbones.tiny import TinyViT
from insightface_cakd.hosts.embedded.backbones.vit import VisionTransformer as ArcFaceViT
from insightface_cakd.teachers.prompts import PromptedTeacher, PromptSpec

WIDTH = 16


def small_swin(**changes):
    """Maps of 16 and 8 in windows of 4: 16 and 4 windows, the second block of a stage shifted."""
    options = {"depths": (2, 2), "num_heads": (2, 4), "embed_dim": 8, "window_size": 4, "img_size": 64, "patch_size": 4}
    return SwinTransformer(num_classes=WIDTH, **options | changes)


def small_timm_vit(**changes):
    """16 patches, a class token and two registers."""
    options = {"embed_dim": 24, "depth": 4, "num_heads": 3, "reg_tokens": 2, "img_size": 64, "patch_size": 16}
    return VisionTransformer(num_classes=WIDTH, **options | changes)


def arcface_vit():
    """The structure of arcface_torch's ViT."""
    return ArcFaceViT(width=16, depth=4, drop_path=0.1, mask_ratio=0.1, num_features=WIDTH)


KINDS = {
    "swin": (small_swin, 64),
    "timm vit": (small_timm_vit, 64),
    "arcface vit": (arcface_vit, 112),
    "vit_tiny": (lambda: TinyViT(WIDTH, width=32, depth=4, heads=2), 112),
}


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight and statistic a value that is not its initial one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
        for name, statistic in network.named_buffers():
            if "running" in name:
                statistic.add_(torch.rand(statistic.shape, generator=generator))
    return network.eval()


def prompted(kind: str, dtype: torch.dtype = torch.float32, **spec: object) -> PromptedTeacher:
    """Return a small teacher with prompts."""
    build, size = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = lively(build()).to(dtype)
    return PromptedTeacher(
        network, kind, WIDTH, "cpu", PromptSpec(**{"tokens": 3, "rate": 1.0} | spec), input_size=size
    )


def images(kind: str, count: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return images of the size that a kind takes."""
    size = KINDS[kind][1]
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(5), dtype=dtype) * 2 - 1
