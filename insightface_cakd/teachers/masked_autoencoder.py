"""A small masked autoencoder of faces, a generative teacher."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from insightface_cakd.data.folders import image_files
from insightface_cakd.data.images import FACE_SIZE, decode_rgb, read_bytes
from insightface_cakd.errors import DataError
from insightface_cakd.runtime import atomic
from insightface_cakd.runtime.tensor_file import save_tensors

WIDTHS = (32, 64, 128, 128)
# Side of the squares that are hidden, and the share of them.
SQUARE, HIDDEN = 16, 0.5
LR = 1e-3


class FaceEncoder(nn.Module):
    """Four strided convolutions and their mean over the grid.

    Shape:
        images (B, 3, 112, 112), RGB in [-1, 1]; tap `maps` (B, 128, 7, 7); answer (B, 128).
    """

    def __init__(self, num_features: int = WIDTHS[-1]) -> None:
        super().__init__()
        if num_features != WIDTHS[-1]:
            raise DataError(
                f"face_encoder: {num_features} features; expected {WIDTHS[-1]}. Set teacher.embedding_size."
            )
        parts: list[nn.Module] = []
        for inputs, outputs in zip((3, *WIDTHS), WIDTHS, strict=False):
            parts += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.PReLU(outputs)]
        self.maps = nn.Sequential(*parts)
        self.features = nn.BatchNorm1d(num_features, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean of the maps, standardised."""
        return self.features(self.maps(images).mean(dim=(2, 3)))


def face_encoder(num_features: int = WIDTHS[-1]) -> nn.Module:
    """Return the encoder, for `network:` of a recipe's teacher."""
    return FaceEncoder(num_features)


def hide(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images with grey squares, and where these are."""
    side = images.shape[-1] // SQUARE
    squares = (torch.rand(len(images), 1, side, side, generator=generator) < HIDDEN).float().to(images.device)
    hidden = interpolate(squares, scale_factor=float(SQUARE))
    return images * (1 - hidden), hidden


def train_encoder(
    faces: Path, out: str | os.PathLike[str], steps: int, batch: int, seed: int, device: torch.device
) -> float:
    """Train the encoder to restore hidden squares, and write its weights.

    The decoder, which is not kept, sees the 7 x 7 maps; the loss is the squared error of hidden pixels.

    Args:
        faces: folder of images at any depth, resized to 112 x 112.
        out: a .pt that does not exist.
        steps: of AdamW.
        batch: images a step.
        seed: of weights, order and squares.
        device: where it trains.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        DataError: the folder has fewer images than a batch, or `out` exists.

    Source:
        Idea of He et al., masked autoencoders (2111.06377); convolutions in place of a Transformer are an assumption.
    """
    atomic.require_new(out, DataError)
    files = image_files(faces)
    if len(files) < batch:
        raise DataError(f"{faces}: {len(files)} images; expected at least a batch of {batch}. Lower --batch.")
    with atomic.writing(out, DataError) as temporary:
        encoder, losses = _trained(files, steps, batch, seed, device)
        save_tensors(encoder.cpu().state_dict(), temporary)
    return float(torch.stack(losses[-max(1, steps // 10) :]).mean())


def _trained(
    files: Sequence[Path], steps: int, batch: int, seed: int, device: torch.device
) -> tuple[FaceEncoder, list[Tensor]]:
    """Return an encoder, and the loss of each step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = FaceEncoder().to(device), _decoder().to(device)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LR)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        chosen = torch.randperm(len(files), generator=generator)[:batch].tolist()
        images = torch.from_numpy(np.stack([_face(files[i]) for i in chosen])).to(device).float() / 127.5 - 1
        seen, hidden = hide(images, generator)
        maps = encoder.maps(seen)
        # The answer's statistics are learnt beside, without a gradient.
        encoder.features(maps.mean(dim=(2, 3)).detach())
        loss = ((decoder(maps) - images).square() * hidden).sum() / (3 * hidden.sum()).clamp(min=1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return encoder, losses


def _decoder() -> nn.Module:
    parts: list[nn.Module] = []
    for inputs, outputs in ((128, 64), (64, 32), (32, 16)):
        parts += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.PReLU(outputs)]
    return nn.Sequential(*parts, nn.ConvTranspose2d(16, 3, 4, 2, 1))


def _face(path: Path) -> np.ndarray:
    rgb = decode_rgb(read_bytes(path), str(path))
    if rgb.shape[:2] != (FACE_SIZE, FACE_SIZE):
        rgb = cv2.resize(rgb, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))
