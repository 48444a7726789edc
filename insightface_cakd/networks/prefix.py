"""The first numbers of an embedding as an embedding."""

from torch import Tensor, nn

from insightface_cakd.errors import EvaluationError
from insightface_cakd.networks.models import Embed


class Prefix(nn.Module):
    """A network whose answer is the first numbers of another's.

    Shape:
        images: (B, 3, 112, 112). Returns (B, width).

    Args:
        network: the whole one.
        width: of the prefix, at most that of its embedding.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network = network
        self.width = width
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Return the prefix of each embedding."""
        return first_numbers(self.network(images), self.width)


def prefix_of(embed: Embed, width: int) -> Embed:
    """Return a model that gives the first numbers of each embedding.

    Args:
        embed: a network or any other model.
        width: of the prefix.
    """
    if isinstance(embed, nn.Module):
        return Prefix(embed, width)
    return lambda images: first_numbers(embed(images), width)


def first_numbers(embeddings: Tensor, width: int) -> Tensor:
    """Return the first numbers of each embedding.

    Shape:
        embeddings: (B, D). Returns (B, width).

    Raises:
        EvaluationError: the embedding is no wider than 0, or narrower than the prefix.
    """
    whole = embeddings.shape[1]
    if not 1 <= width <= whole:
        raise EvaluationError(
            f"width {width}: the model gives {whole} numbers a face; expected 1 to {whole}. Change --width."
        )
    return embeddings[:, :width]
