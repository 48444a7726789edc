"""The task of verification by triplets."""

from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.gather import gather, gather_constant
from insightface_cakd.errors import RecipeError
from insightface_cakd.hosts.embedded.dataset import FlippedFaces, open_faces
from insightface_cakd.hosts.embedded.shared_pixels import SharedPixels
from insightface_cakd.hosts.embedded.utils.utils_logging import LOGGER
from insightface_cakd.hosts.embedded.utils.utils_people_sampler import PeopleSampler
from insightface_cakd.losses.base import masked_mean, squared_distances, unit
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks.batches import TaskBatches
from insightface_cakd.tasks.task import DataRequest, Task


class Triplets(Task):
    """Learn that images of one person lie nearer than those of others.

    mean over triplets (a, p, n) of [|f_a - f_p|^2 - |f_a - f_n|^2 + margin]_+ on unit embeddings f, of all ordered pairs (a, p) of one
    person in the batch of all ranks, with every n of another person.

    A batch has batch_size / images people with that many images each, drawn by `PeopleSampler` from the host's training faces. There are
    no class centres.

    Args:
        images: K >= 2, of each person in a batch.
        margin: >= 0, in squared distance of unit vectors, which is at most 4.

    Raises:
        RecipeError: an argument is out of range.

    Source:
        Task of Wang, Lan, Zhang (1709.02929); margin 0.2, all triplets of a batch are assumptions.
    """

    name = "triplets"
    has_margin = False

    def __init__(self, images: int = 4, margin: float = 0.2) -> None:
        if images < 2:
            raise RecipeError(f"images is {images}; expected at least 2 of a person, who make a pair. Correct it.")
        if not 0 <= margin < 4:
            raise RecipeError(f"margin is {margin}; expected 0 or more, and below 4. Correct it.")
        self.images, self.margin = images, margin

    def fill(self, cfg: Any) -> None:
        """Set the number of images; check that a batch holds two people."""
        faces = open_faces(str(cfg.rec))
        if cfg.batch_size % self.images or cfg.batch_size < 2 * self.images:
            raise RecipeError(
                f"task triplets: batch_size is {cfg.batch_size} with {self.images} images of a person; expected a multiple of it, of at "
                "least two people. Correct batch_size, or task.images."
            )
        # No head is sized by the people.
        cfg.num_image, cfg.num_classes = len(faces), 2

    def data(self, request: DataRequest) -> TaskBatches:
        """Return batches: images (B, 3, 112, 112), people (B,)."""
        faces = open_faces(str(request.folder))
        people = request.batch_size // self.images
        sampler = PeopleSampler(faces.labels(), people, self.images, world_size(), rank(), request.seed)
        if sampler.left_out and rank() == 0:
            LOGGER.info("triplets: %d people with one image are left out", sampler.left_out)
        shared = SharedPixels(request.workers, request.batch_size)
        return TaskBatches(FlippedFaces(faces, request.seed, shared), request, sampler)

    def head(self, host_head: type[nn.Module]) -> type[nn.Module]:
        """Return the triplet loss as a head.

        Args:
            host_head: not used.
        """
        images, margin = self.images, self.margin

        class TripletHead(nn.Module):
            """The mean hinge of the batch's triplets."""

            loss_name = "triplet"

            def __init__(self, *_: Any, **__: Any) -> None:
                super().__init__()

            def forward(self, embedding: Tensor, people: Tensor) -> Tensor:
                """Return the scalar loss for (B, D) and (B,)."""
                return triplet_loss(gather(embedding), gather_constant(people), images, margin)

        return TripletHead


def triplet_loss(embedding: Tensor, people: Tensor, images: int, margin: float) -> Tensor:
    """Return the mean hinge of all triplets of a batch.

    mean of [D(a, p) - D(a, n) + margin]_+

    D is the squared distance of unit embeddings. Without a pair, or without another person, a differentiable 0. Memory: 4 N^2 (K - 1)
    bytes.

    Shape:
        embedding: (N, D). people: (N,), integers.
    Args:
        images: K, at most so many rows of one person; of more, some pairs are left out.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        distances = squared_distances(unit(embedding.float()))
        same = people.unsqueeze(0) == people.unsqueeze(1)
        itself = torch.eye(len(people), dtype=torch.bool, device=people.device)
        # A fixed number of candidates per anchor: their true number is known on the device only.
        paired, positives = (same & ~itself).int().topk(min(images, len(people)) - 1)  # (N, K - 1)
        hinge = (distances.gather(1, positives).unsqueeze(2) - distances.unsqueeze(1) + margin).clamp_min(0)
        return masked_mean(hinge, paired.bool().unsqueeze(2) & ~same.unsqueeze(1))
