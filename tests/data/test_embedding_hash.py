"""The hash that finds an image in a cache of embeddings, against its definition."""

import pytest
import torch

from insightface_cakd.data.embedding_cache import image_hash, looks_altered
from tests.teachers.faces import faces

ALL = (1 << 64) - 1


def mix(word: int) -> int:
    """splitmix64's finaliser on Python's unbounded integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & ALL
    return word ^ (word >> 31)


def slow_hash(content: bytes, seed: int = 0) -> int:
    """The documented hash of one image's channel-first bytes, word by word."""
    content += bytes(-len(content) % 8)
    words = [int.from_bytes(content[place : place + 8], "little") for place in range(0, len(content), 8)]
    keys = [mix(0x9E3779B97F4A7C15 * (number + (seed << 32)) & ALL) for number in range(1, len(words) + 1)]
    return mix(sum(mix(word ^ key) for word, key in zip(words, keys, strict=True)) & ALL)


@pytest.mark.parametrize("side", [112, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_hash_is_the_documented_one(side, seed):
    pixels = faces(2, side=side).permute(0, 3, 1, 2).contiguous()
    expected = [slow_hash(image.numpy().tobytes(), seed) for image in pixels]
    assert [value & ALL for value in image_hash(pixels, seed).tolist()] == expected


def test_every_pixel_value_survives_every_way_to_normalise_it():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3 * 8 * 8 // 64).reshape(1, 3, 16, 16)
    expected = image_hash(pixels)
    for images in ((pixels / 255 - 0.5) / 0.5, (pixels.float() - 127.5) / 127.5, pixels / 127.5 - 1):
        assert torch.equal(image_hash(images), expected)
        assert torch.equal(image_hash(images.half()), expected)
        assert not looks_altered(images)
        assert not looks_altered(images.half())


def test_the_hash_tells_apart_what_is_nearly_the_same():
    image = faces(1, side=16).permute(0, 3, 1, 2)
    variants = [image, image.flip(-1), image.flip(-2), image.roll(1, -1), image[:, [2, 1, 0]], image.transpose(-1, -2)]
    for place in range(3 * 16 * 16):
        changed = image.clone(memory_format=torch.contiguous_format).flatten()
        changed[place] ^= 128
        variants.append(changed.view_as(image))
    hashes = image_hash(torch.cat(variants))
    assert len(hashes.unique()) == len(variants)


def test_the_hash_spreads_over_all_bits():
    bits = image_hash(torch.arange(4096).to(torch.uint8).reshape(-1, 1, 1, 1) + faces(4096, side=2).permute(0, 3, 1, 2))
    ones = torch.stack([(bits >> bit) & 1 for bit in range(64)]).double().mean(dim=1)
    assert (ones - 0.5).abs().max() < 0.05
