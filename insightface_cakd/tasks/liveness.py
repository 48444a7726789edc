"""The task of anti-spoofing: live or spoof, on unseen domains."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from insightface_cakd.data.liveness import LiveFaces, read_liveness
from insightface_cakd.distill.sources import Setting, Source
from insightface_cakd.distill.sources.domain_attack import KINDS, DomainAttack
from insightface_cakd.errors import DataError, RecipeError
from insightface_cakd.evaluate.liveness.scoring import measure_liveness
from insightface_cakd.hosts.embedded.dataset import SeededDataset, as_bytes
from insightface_cakd.hosts.embedded.utils.utils_distributed_sampler import DistributedSampler
from insightface_cakd.networks.last_norm import free_last_norm
from insightface_cakd.report.result import Result
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks.batches import TaskBatches
from insightface_cakd.tasks.task import DataRequest, Measure, Task


class Liveness(Task):
    """Train a network to tell live faces from spoofed ones.

    Its answer is two logits, spoof (0) and live (1).

    Data: `rec` is a folder that `read_liveness` reads. The domains in `val_targets` are tested and not trained on; the threshold of their
    error rates is that of the equal error rate on the training domains.

    Args:
        attack: reading of the domain attack, or `none`.
        epsilon: largest change of a pixel value by the attack, where values are 0 to 1.
        trunk: module path of the student whose output the domain classifier reads.

    Raises:
        RecipeError: another reading, or an epsilon outside [0, 1].

    Source:
        DTDA-style (2401.01102); what is inferred is told in `DomainAttack`.
    """

    name = "liveness"
    has_identities = False

    def __init__(
        self, attack: Literal["none", "uniform", "true"] = "none", epsilon: float = 2 / 255, trunk: str = "layer4"
    ) -> None:
        if attack not in ("none", "uniform", "true"):
            raise RecipeError(f"attack is {attack!r}; expected none, uniform or true. Correct it.")
        if not 0 <= epsilon <= 1:
            raise RecipeError(f"epsilon is {epsilon}; expected 0 to 1, such as 2/255 = 0.00784. Correct it.")
        self.attack, self.epsilon, self.trunk = attack, epsilon, trunk
        self.tested: list[str] = []
        self.domains = 0
        # 2 x domain + live of the batch that the loop is at, which the attack reads.
        self.codes = torch.empty(0, dtype=torch.int64)

    def fill(self, cfg: Any) -> None:
        """Set the number of images, and two logits as answer."""
        self.tested = list(cfg.val_targets)
        faces = read_liveness(Path(str(cfg.rec)))
        if self.tested:
            faces.of(self.tested).require_both_kinds()
        trained = self._trained(faces)
        self.domains = len(trained.domains)
        cfg.num_image, cfg.num_classes, cfg.embedding_size = len(trained), KINDS, KINDS

    def prepare(self, backbone: nn.Module) -> None:
        """Let the last batch norm learn its scale, which recognisers may freeze."""
        free_last_norm(backbone, KINDS)

    def data(self, request: DataRequest) -> TaskBatches:
        """Return batches: images, and 2 x domain + live (B,)."""
        return LiveBatches(self, self._trained(read_liveness(request.folder)), request)

    def target(self, images: int, width: int) -> Tensor:
        """Return codes of two domains, in place of data.

        The attack reads them too.
        """
        self.domains = 2
        self.codes = torch.arange(images) % (self.domains * KINDS)
        return self.codes

    def head(self, host_head: type[nn.Module]) -> type[nn.Module]:
        """Return the cross-entropy of live and spoof as a head.

        Args:
            host_head: not used.
        """

        class LiveLoss(nn.Module):
            """Cross-entropy of the two logits."""

            loss_name = "live"

            def __init__(self, *_: Any, **__: Any) -> None:
                super().__init__()

            def forward(self, logits: Tensor, codes: Tensor) -> Tensor:
                """Return the scalar loss for (B, 2) and (B,)."""
                return cross_entropy(logits.float(), codes.view(-1) % KINDS)

        return LiveLoss

    def sources(self, setting: Setting) -> list[Source]:
        """Return the domain attack, if there is one."""
        if self.attack == "none":
            return []
        # Of values that span 2, not 1.
        epsilon = 2 * self.epsilon
        return [DomainAttack(setting, self.domains, self.attack, epsilon, self.trunk, lambda: self.codes)]

    def measures(self, folder: Path, names: list[str]) -> dict[str, Measure]:
        """Return the error rates on each tested domain."""
        faces = read_liveness(folder)
        sources = self._trained(faces).domains
        return {name: partial(_measured, faces, sources, name) for name in names}

    def _trained(self, faces: LiveFaces) -> LiveFaces:
        """Return the faces of the domains that are not tested."""
        kept = [name for name in faces.domains if name not in self.tested]
        return faces.of(kept).require_both_kinds(domains=1 if self.attack == "none" else 2)


class FacesOfKinds(SeededDataset):
    """Images and 2 x domain + live, mirrored at random."""

    def __init__(self, faces: LiveFaces, seed: int) -> None:
        super().__init__(seed)
        self.faces = faces
        self.codes = torch.from_numpy(KINDS * faces.domain + faces.live)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor] | DataError:
        try:
            image = self.faces.image(index)
        except DataError as error:
            return error
        if self.random(index).random() < 0.5:
            image = image[:, ::-1]
        return as_bytes(image), self.codes[index]


class LiveBatches(TaskBatches):
    """Batches with equal shares of each domain and kind."""

    def __init__(self, task: Liveness, faces: LiveFaces, request: DataRequest) -> None:
        dataset = FacesOfKinds(faces, request.seed)
        super().__init__(dataset, request, BalancedSampler(dataset, world_size(), rank(), request.seed))
        self.task = task

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]
        for images, codes in super().__iter__():
            self.task.codes = codes
            yield [images, codes]


class BalancedSampler(DistributedSampler):
    """A rank's order, which takes turns among domains and kinds.

    Position p of a rank has cell p mod C of the C pairs (domain, kind), so that no two cells of a batch differ by more than one face. A
    small cell is repeated, in a new order each time. The order depends on seed and epoch.
    """

    def __init__(self, dataset: FacesOfKinds, num_replicas: int, rank: int, seed: int = 0) -> None:
        super().__init__(len(dataset), num_replicas, rank, seed)
        self.cells = [torch.nonzero(dataset.codes == code).flatten() for code in dataset.codes.unique()]

    def order(self) -> list[int]:
        """Return this rank's images of the epoch, taking turns among cells."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        turns = -(-len(self) // len(self.cells))
        shares = []
        for cell in self.cells:
            times = -(-turns * self.num_replicas // len(cell))
            drawn = torch.cat([cell[torch.randperm(len(cell), generator=generator)] for _ in range(times)])
            shares.append(drawn[: turns * self.num_replicas][self.rank :: self.num_replicas])
        return torch.stack(shares, dim=1).flatten()[: len(self)].tolist()


def _measured(faces: LiveFaces, sources: tuple[str, ...], name: str, step: int, network: nn.Module) -> Result:
    return measure_liveness(network, faces, sources, [name])
