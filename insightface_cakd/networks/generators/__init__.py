"""Generators of faces: loaded, tried out, framed like aligned faces."""

from insightface_cakd.networks.generators.generator import Generator, resampled
from insightface_cakd.networks.generators.load import DRAWN, load_generator

__all__ = ["DRAWN", "Generator", "load_generator", "resampled"]
