"""A generator of faces, as training uses it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import RunError
from insightface_cakd.networks.generators.framing import Crop, frame
from insightface_cakd.runtime.foreign import foreign

TRIED = 4
# Generators overshoot their range a little: this much, as a share of it, is clamped without a word; beyond it, this share of the pixels.
OVERSHOOT, MOST_OUTSIDE = 0.05, 0.05
# Faces fill more of the range than this share: less is another range, such as [-1, 1] read as [0, 255].
LEAST_SPAN = 0.1

Step = Callable[[Tensor], Any]


class Generator:
    """Draws faces from latents: w = M(z), x = crop(clamp(G(w), -1, 1)).

    It is frozen, in eval mode, and gives no gradient. What it draws at random itself, such as StyleGAN's noise, comes from a seed, and
    leaves the random numbers of the run as they were.

    Args:
        mapping: M, z (B, width) -> w (B, ..., D); None where z is w.
        synthesis: G, w -> images (B, 3, S, S).
        name: of the generator in errors.
        width: of z.
        crop: the part of its images that is shown, see `frame`.
        pixels: the least and the largest value of its images.
    """

    def __init__(
        self,
        mapping: Step | None,
        synthesis: Step,
        name: str,
        width: int,
        crop: Crop = "whole",
        pixels: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        self.steps = [step for step in (mapping, synthesis) if step is not None]
        self.maps = mapping is not None
        self.name, self.width, self.crop = name, width, crop
        self.low, self.high = pixels
        self.device = torch.device("cpu")
        for step in self.steps:
            if isinstance(step, nn.Module):
                freeze(step)

    def to(self, device: torch.device) -> "Generator":
        """Move the generator to a device.

        Args:
            device: where latents and images are.
        """
        for step in self.steps:
            # An ONNX session and a drawing are told; a function of the user's follows its input.
            if callable(getattr(step, "to", None)):
                step.to(device)  # type: ignore[attr-defined]
        self.device = device
        return self

    def mapping(self, z: Tensor) -> Tensor:
        """Return w of a batch of z (B, width)."""
        return self._run(self.steps[0], z, 0) if self.maps else z

    def synthesis(self, w: Tensor, seed: int = 0) -> Tensor:
        """Return faces (B, 3, 112, 112), RGB in [-1, 1].

        Args:
            w: (B, ..., D), of `mapping` or near it.
            seed: of what the generator draws itself.
        """
        images = self._run(self.steps[-1], w, seed).float()
        spread = (self.high - self.low) / 2
        return frame(((images - self.low) / spread - 1).clamp(-1, 1), self.crop)

    def check(self) -> None:
        """Draw a few faces, and refuse what cannot be faces.

        Raises:
            RunError: it fails on its latents, or its w or images have another shape, range or type, hold NaN, or are all the same.
        """
        z = torch.randn(TRIED, self.width, generator=torch.Generator().manual_seed(0)).to(self.device)
        w = self._run(self.steps[0], z, 0) if self.maps else z
        if not isinstance(w, Tensor) or not w.is_floating_point() or w.ndim < 2 or len(w) != TRIED:
            raise RunError(
                f"{self.name}: mapping of {TRIED} latents gives {_said(w)}; expected w (B, D). Correct mapping."
            )
        images = self._run(self.steps[-1], w, 0)
        self._check_images(images)

    def _check_images(self, images: Any) -> None:
        if (
            not isinstance(images, Tensor)
            or images.ndim != 4
            or images.shape[:2] != (TRIED, 3)
            or not images.is_floating_point()
        ):
            raise RunError(
                f"{self.name}: {TRIED} latents give {_said(images)}; expected images ({TRIED}, 3, S, S) of floats. Is it a generator?"
            )
        side, other = images.shape[-2:]
        if side != other or side < FACE_SIZE // 4:
            raise RunError(
                f"{self.name}: its images are {side} x {other}; expected squares, {FACE_SIZE // 4} or more. Use another generator."
            )
        if not torch.isfinite(images).all():
            raise RunError(
                f"{self.name}: its images hold NaN or infinity; expected numbers. The file is damaged, or in half precision."
            )
        if float((images - images[:1]).abs().max()) < 1e-6 * (self.high - self.low):
            raise RunError(
                f"{self.name}: different latents give the same image; expected others. It does not read its latents."
            )
        least, most = float(images.min()), float(images.max())
        room = OVERSHOOT * (self.high - self.low)
        outside = float(((images < self.low - room) | (images > self.high + room)).float().mean())
        narrow = most - least < LEAST_SPAN * (self.high - self.low)
        if outside > MOST_OUTSIDE or narrow or (self.low < 0 <= least):
            raise RunError(
                f"{self.name}: its pixels lie in [{least:.3g}, {most:.3g}]; expected [{self.low:g}, {self.high:g}]. Set pixels,"
                " for example pixels: [0, 1]."
            )

    @torch.no_grad()
    def _run(self, step: Step, given: Tensor, seed: int) -> Tensor:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            fails, expected = f"fails on latents {tuple(given.shape)}", "images. Set latent to the width of its z."
            with foreign(self.name, RunError, expected, fails=fails):
                found: Tensor = step(given)
        return found


def freeze(network: nn.Module) -> nn.Module:
    """Put a network into eval mode and let nothing in it learn."""
    for weight in network.parameters():
        weight.requires_grad = False
    return network.eval()


def resampled(w: Tensor, similarity: Tensor, strength: float, noise: Tensor) -> Tensor:
    """Return latents around those of a batch.

    w' = w + c lambda n with c = (1 + cos(f_S, f_T)) / 2 of each image: easy images move far, hard ones stay near. All layers of w get
    the same noise.

    Shape:
        w: (B, ..., D). similarity: (B,), c in [0, 1]. noise: (B, D).
    Args:
        strength: lambda.
    Source:
        SynthDistill (2308.14852).
    """
    moved = strength * similarity.unsqueeze(1) * noise  # (B, D)
    return w + moved.view(len(w), *[1] * (w.ndim - 2), -1).to(w)


def _said(found: Any) -> str:
    return f"{tuple(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
