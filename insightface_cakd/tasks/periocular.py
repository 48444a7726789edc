"""The task of periocular recognition: people by the strip of their eyes."""

import math
from typing import Any

from torch import Tensor, nn

from insightface_cakd.errors import RecipeError, RunError, did_you_mean
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.dataset import open_faces
from insightface_cakd.networks.periocular import PeriocularNetwork
from insightface_cakd.tasks.consistent_heads import ConsistentHeads
from insightface_cakd.tasks.task import Task

SYNTHETIC = "synthetic"
# Their namesakes that answer the face's embedding are for use after training.
TRAINED = ("ckd", "ckd_tiny")


class Periocular(Task):
    """Train on face and eye strip a network for the strip.

    The network is one of CKD's, `ckd` or `ckd_tiny`, on either host: `network` of the config. Face and strip go through shared stages with
    joint batch norms; two linear classifiers learn from the labels and from each other, see `ConsistentHeads`. In eval mode the network
    answers the strip's embedding, so every measure of a run is by the strip. Terms of the recipe read the strip's embedding too.

    Args:
        consistency: weight of what the classifiers learn from each other; 0 leaves it out.
        temperature: by which both classifiers' logits are divided for that.
        face: whether the whole face takes part; without it the strip learns alone.

    Raises:
        RecipeError: a weight below 0, or a temperature that is not positive.

    Source:
        CKD (2012.06746).
    """

    name = "periocular"
    has_margin = False

    def __init__(self, consistency: float = 1.0, temperature: float = 2.5, face: bool = True) -> None:
        if not _is_number(consistency) or consistency < 0:
            raise RecipeError(f"consistency is {consistency!r}; expected a weight of at least 0. The paper's is 1.")
        if not _is_number(temperature) or temperature <= 0:
            raise RecipeError(f"temperature is {temperature!r}; expected a positive number. The paper's is 2.5.")
        if not isinstance(face, bool):
            raise RecipeError(f"face is {face!r}; expected true or false. Correct it.")
        self.consistency, self.temperature, self.face = consistency, temperature, face

    def fill(self, cfg: Any) -> None:
        """Check the config's network and head, and the first image's size.

        Raises:
            RunError: the network has no two branches, or the config samples classes.
            DataError: the first image is not an aligned face of 112 x 112.
        """
        _check_network(str(cfg.network))
        if cfg.sample_rate != 1:
            raise RunError(
                f"sample_rate is {cfg.sample_rate}; expected 1, since both classifiers compare their probabilities of all classes. Set "
                "sample_rate=1.0."
            )
        if str(cfg.rec) != SYNTHETIC:
            open_faces(str(cfg.rec))[0]

    def network(self, name: str, **options: Any) -> nn.Module:
        """Return the network, of which no host but the embedded one knows."""
        _check_network(name)
        network = get_model(name, **options)
        assert isinstance(network, PeriocularNetwork)
        if self.face:
            network.answers = "both"
        else:
            network.train_alone("strip")
        return network

    def embedding(self, answer: Tensor) -> Tensor:
        """Return the strip's part of both embeddings, (B, D)."""
        return answer[:, 1] if answer.dim() == 3 else answer

    def head(self, host_head: type[nn.Module]) -> type[nn.Module]:
        """Return the two classifiers with their consistency as a head.

        Args:
            host_head: not used.
        """
        consistency, temperature, face = self.consistency, self.temperature, self.face

        class PeriocularHead(ConsistentHeads):
            """The classifiers, constructed like `PartialFC_V2`."""

            loss_name = "periocular"

            def __init__(self, _: Any, embedding_size: int, num_classes: int, *__: Any, **___: Any) -> None:
                super().__init__(embedding_size, num_classes, consistency, temperature, face)

        return PeriocularHead


def _check_network(name: str) -> None:
    if name not in TRAINED:
        raise RunError(
            f"network: {name} has no stages with joint batch norms for face and strip; expected one of {', '.join(TRAINED)}."
            f"{did_you_mean(name, TRAINED)} Pass --set network='ckd', or the config faces_ckd_tiny."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
