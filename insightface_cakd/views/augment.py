"""Views that change an image by chance.

Under `both`, student and teacher see the same change; a term then compares their answers to one image.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

from insightface_cakd.errors import RecipeError

# Rec. 601 luma.
LUMA = (0.299, 0.587, 0.114)


def _drawn(generator: torch.Generator, images: Tensor, least: float, most: float, columns: int = 1) -> Tensor:
    """Return uniform numbers (B, columns) on the images' device."""
    drawn = torch.rand(len(images), columns, generator=generator)
    return (least + (most - least) * drawn).to(images, non_blocking=True)


def _require(value: float, name: str, least: float, most: float, unit: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise RecipeError(f"{name} is {value!r}; expected {unit} from {least:g} to {most:g}. Correct it.")
    return float(value)


class Affine:
    """Rotate, scale and move each image by a drawn amount.

    Bilinear; pixels from outside repeat the border.

    Shape:
        images: (B, 3, S, S), in [-1, 1].

    Args:
        degrees: largest rotation to either side.
        scale: largest relative change of size, in [0, 0.9].
        shift: largest move, as a share of the side.

    Raises:
        RecipeError: an amount is out of range.
    """

    moves_pixels = True

    def __init__(self, degrees: float = 10, scale: float = 0.1, shift: float = 0.05) -> None:
        self.angle = math.radians(_require(degrees, "degrees", 0, 180, "degrees"))
        self.scale = _require(scale, "scale", 0, 0.9, "a share")
        self.shift = _require(shift, "shift", 0, 1, "a share of the side")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the moved images."""
        drawn = _drawn(generator, images, -1, 1, columns=4)
        angle, scale = drawn[:, 0] * self.angle, 1 + drawn[:, 1] * self.scale
        # A grid says where an output pixel comes from, in half sides: the inverse of the move.
        cosine, sine = angle.cos() / scale, angle.sin() / scale
        rows = [cosine, -sine, 2 * self.shift * drawn[:, 2], sine, cosine, 2 * self.shift * drawn[:, 3]]
        grid = affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


class Colour:
    """Change brightness, contrast and saturation of each image by a drawn amount.

    x -> clip(c (s (x - g(x)) + g(x) - m) + m + b), g the luma of a pixel, m its mean over the image.

    Shape:
        images: (B, 3, S, S), RGB in [-1, 1].

    Args:
        brightness: largest b, as a share of the half range.
        contrast: c is drawn from 1 - contrast to 1 + contrast.
        saturation: s is drawn from 1 - saturation to 1 + saturation.

    Raises:
        RecipeError: an amount is not in [0, 1].
    """

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2) -> None:
        self.brightness = _require(brightness, "brightness", 0, 1, "a share")
        self.contrast = _require(contrast, "contrast", 0, 1, "a share")
        self.saturation = _require(saturation, "saturation", 0, 1, "a share")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the recoloured images."""
        drawn = _drawn(generator, images, -1, 1, columns=3).view(-1, 3, 1, 1, 1)
        red, green, blue = images.split(1, dim=1)
        grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
        mean = grey.mean(dim=(2, 3), keepdim=True)
        coloured = (1 + self.saturation * drawn[:, 2]) * (images - grey) + grey
        return ((1 + self.contrast * drawn[:, 1]) * (coloured - mean) + mean + self.brightness * drawn[:, 0]).clamp(
            -1, 1
        )


class Blur:
    """Blur each image by a Gaussian of a drawn width.

    Shape:
        images: (B, 3, S, S), in [-1, 1].

    Args:
        sigma: largest standard deviation, in pixels of the image; drawn from 0.1 up.

    Raises:
        RecipeError: it is not in [0.1, 20].
    """

    LEAST = 0.1

    def __init__(self, sigma: float = 2) -> None:
        self.sigma = _require(sigma, "sigma", self.LEAST, 20, "pixels")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the blurred images; the border is mirrored."""
        count, channels, side = images.shape[:3]
        radius = min(math.ceil(3 * self.sigma), side - 1)
        offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
        sigma = _drawn(generator, images, self.LEAST, self.sigma)
        kernels = (-offsets.square() / (2 * sigma.square())).softmax(dim=1).repeat_interleave(channels, dim=0)
        rows = pad(images, (radius,) * 4, mode="reflect").flatten(0, 1).unsqueeze(0)
        groups = count * channels
        across = conv2d(rows, kernels.view(groups, 1, 1, -1), groups=groups)
        return conv2d(across, kernels.view(groups, 1, -1, 1), groups=groups).view_as(images)


class Noise:
    """Add Gaussian noise of a drawn strength to each image.

    Shape:
        images: (B, 3, S, S), in [-1, 1].

    Args:
        sigma: largest standard deviation, as a share of the half range.

    Raises:
        RecipeError: it is not in [0, 1].
    """

    def __init__(self, sigma: float = 0.1) -> None:
        self.sigma = _require(sigma, "sigma", 0, 1, "a share")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the noisy images."""
        strength = _drawn(generator, images, 0, self.sigma).view(-1, 1, 1, 1)
        # Drawn where the images are: only the seed comes from the CPU.
        local = torch.Generator(images.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
        noise = torch.randn(images.shape, generator=local, device=images.device, dtype=images.dtype)
        return (images + strength * noise).clamp(-1, 1)


class CutOut:
    """Cover a square of each image with grey, at a drawn place.

    Shape:
        images: (B, 3, S, S), in [-1, 1].

    Args:
        share: side of the square, as a share of the image's.

    Raises:
        RecipeError: it is not in [0, 1].

    Edge cases:
        The square lies wholly within the image.
    """

    def __init__(self, share: float = 0.3) -> None:
        self.share = _require(share, "share", 0, 1, "a share of the side")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images with holes."""
        side = images.shape[-1]
        hole = round(self.share * side)
        start = (_drawn(generator, images, 0, 1, columns=2) * (side - hole + 1)).floor().clamp(max=side - hole)
        place = torch.arange(side, device=images.device) - start.unsqueeze(-1)  # (B, 2, S)
        inside = (place >= 0) & (place < hole)
        covered = inside[:, 0, :, None] & inside[:, 1, None, :]
        return images.masked_fill(covered.unsqueeze(1), 0)


class Mix:
    """Blend each image with another of the batch, by a drawn share.

    x_i -> (1 - l_i) x_i + l_i x_p(i), p a drawn order. Labels stay: use it where terms compare answers to the same image, without a
    loss on identities, or with a small share.

    Shape:
        images: (B, 3, S, S), in [-1, 1].

    Args:
        share: largest share of the other image, in [0, 0.5].

    Raises:
        RecipeError: it is out of range.
    """

    # The other face has other places.
    moves_pixels = True

    def __init__(self, share: float = 0.5) -> None:
        self.share = _require(share, "share", 0, 0.5, "a share")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the blends."""
        other = torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)
        return images.lerp(images[other], _drawn(generator, images, 0, self.share).view(-1, 1, 1, 1))
