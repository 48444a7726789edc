"""The number of classes that a batch's probabilities ask for."""

import torch
from torch import Tensor

from insightface_cakd.losses.blocks import column_blocks
from insightface_cakd.losses.classes import ClassAxis
from insightface_cakd.losses.masses import Masses

# Classes are sorted by their mean probability into 2^11 bins for each halving, 50 halvings deep; below, they are not told apart.
BITS, HALVINGS = 11, 50
_LOWEST = (127 - HALVINGS) << BITS  # exponent and mantissa of 2^-HALVINGS, as a float32 has them


def shared_size(
    logits: Tensor, masses: Masses, total: Tensor, share: float, step: int, number: Tensor, classes: ClassAxis
) -> Tensor:
    """Return one size for all rows, by their summed probabilities.

    At T = 1, it is the first k of 1, 1 + step, 1 + 2 step, ... whose k largest sums reach the share of the batch; C - 1 if no k below C
    does. Sums within 2^-11 of each other count with their mean where the share is reached among them. It takes one reduction.

    Shape:
        logits: (N, n). total: (N, 1), all of a row's masses. number: (1, 1), C. Returns (1, 1).
    """
    bins = (HALVINGS << BITS) + 1
    found = torch.zeros(2, bins, dtype=torch.float64, device=logits.device)
    total = total.to(logits.dtype)
    for block in column_blocks(logits):
        means = masses.softened(logits[:, block]).div_(total).mean(0)
        keys = means.float().view(torch.int32) >> (23 - BITS)
        places = (keys - _LOWEST).clamp(0, bins - 1).long()
        found.scatter_add_(1, places.expand(2, -1), torch.stack([means, torch.ones_like(means)]).double())
    mass, count = classes.sum(found.view(-1, 1)).view_as(found).unsqueeze(1)
    sums = mass.flip(1).cumsum(1).flip(1)
    place = ((sums >= share) * torch.arange(bins, device=sums.device)).amax(1, keepdim=True)
    above = count.flip(1).cumsum(1).flip(1) - count
    missing = (share - (sums - mass).gather(1, place)) / mass.gather(1, place) * count.gather(1, place)
    needed = above.gather(1, place) + missing.ceil().clamp(min=1).minimum(count.gather(1, place))
    steps = ((needed - 1) / step).ceil()
    return (1 + steps * step).minimum(number - 1).clamp(min=1)
