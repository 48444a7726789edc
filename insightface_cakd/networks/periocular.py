"""CKD's network: one trunk for face and eye strip, two tails."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import ShapeError

Branch = Literal["face", "strip"]
Maps = list[Tensor]

# Rows of the aligned face, the last one not included: centred on the eyes at row 51.6, with the ratio 48 : 128.
ROWS = (31, 73)
RATIO = (48, 128)
BLOCKS = 2
EXCITATION = 16


def joint_batch_norm(norm: nn.BatchNorm2d, maps: Maps) -> Maps:
    """Normalise maps by one mean and variance over the pixels of all.

    Equals the batch norm of the maps joined along their pixels, so a map weighs by its number of pixels. In eval mode each map is
    normalised with the joint running statistics.

    Shape:
        maps: each (B, C, H, W), of heights and widths of their own.

    Source:
        "Consistent" batch norm of CKD (2012.06746).
    """
    if not norm.training or len(maps) == 1:
        return [norm(one) for one in maps]
    pixels = torch.cat([one.flatten(2) for one in maps], dim=2).unsqueeze(2)  # (B, C, 1, sum of H W)
    parts = norm(pixels).squeeze(2).split([one.shape[2] * one.shape[3] for one in maps], dim=2)
    return [part.unflatten(2, one.shape[2:]) for part, one in zip(parts, maps, strict=True)]


class SharedBlock(nn.Module):
    """Residual block that runs several maps through the same weights.

    Batch norm, ReLU, 3 x 3, batch norm, ReLU, 3 x 3 with the stride, squeeze and excitation (1/16), plus the input, or 1 x 1 and batch
    norm of it where the shape changes. Batch norms are joint.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        squeezed = max(1, width // EXCITATION)
        self.excite = nn.Sequential(nn.Linear(width, squeezed), nn.ReLU(), nn.Linear(squeezed, width), nn.Sigmoid())
        self.projects = stride != 1 or channels != width
        if self.projects:
            self.short = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.short_norm = nn.BatchNorm2d(width)

    def forward(self, maps: Maps) -> Maps:
        """Return each map's block output."""
        inner = [self.conv1(relu(one)) for one in joint_batch_norm(self.norm1, maps)]
        inner = [self.conv2(relu(one)) for one in joint_batch_norm(self.norm2, inner)]
        inner = [one * self.excite(one.mean(dim=(2, 3)))[:, :, None, None] for one in inner]
        beside = joint_batch_norm(self.short_norm, [self.short(one) for one in maps]) if self.projects else maps
        return [one + other for one, other in zip(inner, beside, strict=True)]


class Tail(nn.Module):
    """A branch's own layers: stage 4, batch norm, FC, batch norm."""

    def __init__(self, channels: int, width: int, grid: tuple[int, int], num_features: int) -> None:
        super().__init__()
        self.stage = _stage(channels, width)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * grid[0] * grid[1], num_features)
        self.features = nn.BatchNorm1d(num_features)

    def forward(self, one: Tensor) -> Tensor:
        """Return the embedding (B, D), float32, of a map of stage 3."""
        rows = self.norm(self.stage([one])[0]).flatten(1)
        # No context where none is needed, so that exporters see plain layers.
        with torch.autocast("cuda", enabled=False) if rows.is_cuda else nullcontext():
            return self.features(self.fc(rows.to(self.fc.weight.dtype)))


class PeriocularNetwork(nn.Module):
    """Embed an aligned face by its eye strip, its whole, or both.

    The network cuts and resizes both pictures from the same image, so that a flip of it flips both. Stem and stages 1 to 3 are shared,
    with joint batch norms; stage 4, FC and last batch norm are each branch's own. In eval mode it is an ordinary network that answers one
    branch's embedding; in train mode too, unless `answers` is `both`.

    Shape:
        images: (B, 3, 112, 112), RGB in [-1, 1]. Embedding (B, D); of both branches (B, 2, D), the face first.

    Args:
        num_features: D.
        width: channels of stem and stage 1; twice as many in each further stage.
        side: the face is resized to this side, the strip to 3/8 of it by the side.
        branch: whose embedding it answers.
        fp16: half precision of all but FC and last batch norm, on CUDA.

    Source:
        CKD (2012.06746), width 64 and side 128. Rows 31 to 72 of the 112 crop as the strip are an assumption.
    """

    def __init__(
        self, num_features: int = 512, width: int = 64, side: int = 128, branch: Branch = "strip", fp16: bool = False
    ) -> None:
        super().__init__()
        self.branch = branch
        self.answers: Literal["branch", "both"] = "branch"
        self.fp16 = fp16
        self.sizes: dict[str, tuple[int, int]] = {
            "face": (side, side),
            "strip": (side * RATIO[0] // RATIO[1], side),
        }
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.stages = nn.Sequential(
            *(_stage(*pair) for pair in ((width, width), (width, 2 * width), (2 * width, 4 * width)))
        )
        self.tails = nn.ModuleDict(
            {name: Tail(4 * width, 8 * width, _grid(size), num_features) for name, size in self.sizes.items()}
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the branch's embedding, or both in train mode if so set."""
        return self.both(images) if self.training and self.answers == "both" else self.by(self.branch, images)

    def both(self, images: Tensor) -> Tensor:
        """Return the embeddings of face and strip, (B, 2, D)."""
        return torch.stack(self._embed(("face", "strip"), images), dim=1)

    def by(self, branch: Branch, images: Tensor) -> Tensor:
        """Return the embedding of one branch, (B, D)."""
        return self._embed((branch,), images)[0]

    def train_alone(self, branch: Branch) -> None:
        """Train one branch only; the other's weights are frozen."""
        self.branch, self.answers = branch, "branch"
        for name, tail in self.tails.items():
            tail.requires_grad_(name == branch)

    def picture(self, branch: str, images: Tensor) -> Tensor:
        """Return what a branch sees of aligned faces.

        Raises:
            ShapeError: the images are not (B, 3, 112, 112).
        """
        if tuple(images.shape[1:]) != (3, FACE_SIZE, FACE_SIZE):
            raise ShapeError(
                f"network: images of shape {tuple(images.shape)}; expected aligned faces (B, 3, {FACE_SIZE}, {FACE_SIZE}), of which the "
                f"network cuts the eye strip, rows {ROWS[0]} to {ROWS[1] - 1}, itself. Align the faces first."
            )
        shown = images[:, :, ROWS[0] : ROWS[1]] if branch == "strip" else images
        return interpolate(shown, self.sizes[branch], mode="bilinear", align_corners=False)

    def _embed(self, branches: Sequence[str], images: Tensor) -> list[Tensor]:
        half = torch.autocast("cuda", torch.float16) if self.fp16 and images.is_cuda else nullcontext()
        with half:
            maps = [self.stem(self.picture(branch, images)) for branch in branches]
            maps = self.stages([relu(one) for one in joint_batch_norm(self.stem_norm, maps)])
            return [self.tails[branch](one) for branch, one in zip(branches, maps, strict=True)]


def _stage(channels: int, width: int) -> nn.Sequential:
    """Return the blocks of a stage, of which the first halves the grid."""
    blocks = [SharedBlock(channels if number == 0 else width, width, 1 + (number == 0)) for number in range(BLOCKS)]
    return nn.Sequential(*blocks)


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    """Return a picture's grid after the four stages, each of which halves and rounds up."""
    height, width = (-(-edge // 16) for edge in size)
    return height, width
