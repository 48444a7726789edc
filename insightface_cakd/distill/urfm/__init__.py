"""Unified receptive fields mapping (URFM): both sides onto the same local fields."""

from insightface_cakd.distill.urfm.mapping import URFM
from insightface_cakd.distill.urfm.tokens import as_tokens
from insightface_cakd.networks.token_grid import TokenGrid
from insightface_cakd.recipe.urfm import URFMSpec

__all__ = ["URFM", "TokenGrid", "URFMSpec", "as_tokens"]
