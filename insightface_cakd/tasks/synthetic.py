"""The task without a real face: a generator draws the images."""

import os
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from insightface_cakd.distill.sources import Setting, Source
from insightface_cakd.errors import DataError, RecipeError
from insightface_cakd.hosts.embedded.dataset import open_faces
from insightface_cakd.hosts.embedded.utils.utils_logging import LOGGER
from insightface_cakd.networks.generators import DRAWN, Generator, load_generator
from insightface_cakd.networks.generators.framing import Crop, read_crop
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks.generated import Exchange, GeneratedBatches, pairs_of
from insightface_cakd.tasks.task import DataRequest, Task
from insightface_cakd.tasks.terms_only import TermsOnly, require_teaching

SIMILARITY, SPEED = "similarity", "images_per_second"


class Synthetic(Task):
    """Train a student on the faces of a generator, under a teacher.

    z ~ N(0, 1), w = M(z), one step on G(w); then c = (1 + cos(f_S, f_T)) / 2 of each image, and a second step on G(w + c lambda n),
    n ~ N(0, 1): images that the student finds easy are left behind, hard ones are seen again a little changed. There are no labels and no
    head; the terms of the recipe are the whole loss. The measure stays the host's verification.

    Args:
        generator: `drawn`, which needs no file; a TorchScript file; an .onnx; or `package.module:callable`. See `load_generator`.
        resample: lambda. 0 shows the same faces twice.
        images: generated and real ones of an epoch on all ranks; when not given, the config's `num_image`, or the number in the training
            set of `rec`.
        latent: width of z, where the generator does not say it.
        mapping: file of the mapping network, where it is apart.
        crop: `whole`, `ffhq`, or a box [top, bottom, left, right] in shares of the side; see `framing.frame`.
        pixels: the least and the largest value of the generator's images.
        real: share of a batch that is real, from the training set of `rec`; 1 needs no generator.

    Raises:
        RecipeError: an option is out of range.

    Source:
        SynthDistill (2308.14852): resample 1. Its loss is `mse` with `normalised: false`, (1 / (512 B)) sum |f_S - f_T|^2. Several
        ranks and real faces are additions.
    """

    name = "synthetic"
    has_identities = False

    def __init__(
        self,
        generator: str = DRAWN,
        resample: float = 1.0,
        images: int | None = None,
        latent: int | None = None,
        mapping: str | None = None,
        crop: Any = "whole",
        pixels: Any = (-1, 1),
        real: float = 0.0,
    ) -> None:
        for name, value, most in (("resample", resample, float("inf")), ("real", real, 1.0)):
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0 <= value <= most
                or value == float("inf")
            ):
                limit = "of at least 0" if most > 1 else "between 0 and 1"
                raise RecipeError(f"{name} is {value!r}; expected a number {limit}. Correct it.")
        for name, count in (("images", images), ("latent", latent)):
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
                raise RecipeError(f"{name} is {count!r}; expected a whole number of at least 1. Correct it.")
        if not isinstance(generator, str) or not generator or not isinstance(mapping, str | None):
            raise RecipeError(f"generator is {generator!r}, mapping {mapping!r}; expected names. Correct them.")
        self.resample, self.images, self.real = float(resample), images, float(real)
        self.crop: Crop = read_crop(crop)
        self.load = partial(load_generator, generator, latent, mapping, self.crop, _range(pixels))
        self.generator: Generator | None = None
        self.exchange = Exchange()

    def fill(self, cfg: Any) -> None:
        """Load and try the generator; set the number of images.

        An epoch is a whole number of pairs of batches. The number of classes, which nothing reads, becomes one a rank.

        Args:
            cfg: of the run.
        """
        if int(cfg.get("gradient_acc") or 1) != 1:
            raise RecipeError(
                f"task synthetic: gradient_acc is {cfg.gradient_acc}; expected 1, each batch is a step of its own. Set gradient_acc=1."
            )
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        self._real_rows(cfg.batch_size)
        total = self.images or cfg.get("num_image") or _count(str(cfg.rec))
        self.images = int(total)
        if self.real < 1:
            self.generator = self.load()
        cfg.num_image = pairs_of(self.images, cfg.batch_size, ranks) * 2 * cfg.batch_size * ranks
        cfg.num_classes = max(2, ranks)
        self.exchange.every = int(cfg.get("frequent") or 10)

    def data(self, request: DataRequest) -> GeneratedBatches:
        """Return batches: images (B, 3, 112, 112), target 0 (B,)."""
        if self.generator is not None:
            self.generator.to(request.device)
        pairs = pairs_of(max(self.images or 0, 2 * request.batch_size * world_size()), request.batch_size, world_size())
        real = self._real_rows(request.batch_size)
        return GeneratedBatches(self.generator, request, pairs, self.resample, real, self.exchange)

    def head(self, host_head: type[nn.Module]) -> type[nn.Module]:
        """Return a head without a loss of its own.

        Args:
            host_head: not used.
        """

        return TermsOnly

    def sources(self, setting: Setting) -> list[Source]:
        """Return the source that compares the batch's embeddings.

        Args:
            setting: of the run.
        """
        require_teaching(setting, self.name)
        return [Similarity(setting, self.exchange)]

    def _real_rows(self, batch_size: int) -> int:
        """Return how many images of a batch are real."""
        rows = round(self.real * batch_size)
        if 0 < self.real < 1 and not 0 < rows < batch_size:
            raise RecipeError(
                f"task synthetic: real is {self.real}, {rows} images of a batch of {batch_size}; expected some of both. Set it to 0, 1 or "
                "a share that fits."
            )
        return rows


class Similarity(Source):
    """Tells the batches how alike student and teacher found each face.

    c = (1 + cos(f_S, f_T)) / 2 of the generated faces, before the step and without a gradient; its mean and the speed of generator, teacher
    and student are logged.
    """

    def __init__(self, setting: Setting, exchange: Exchange) -> None:
        super().__init__(setting)
        self.exchange = exchange
        teacher = setting.teachers[setting.first]
        teacher.register_forward_pre_hook(exchange.speeds.teacher_begins)
        teacher.register_forward_hook(exchange.speeds.teacher_ends)

    @torch.no_grad()
    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Hand c over; return what is logged."""
        student, teacher = features["student.embedding"], features[f"{self.setting.first}.embedding"]
        exchange, count = self.exchange, self.exchange.generated
        every = similarity_of(student, teacher)
        exchange.similarity = every[:count]
        mean = (exchange.similarity if count else every).mean()
        kind = "real" if not count else "fresh" if exchange.fresh else "resampled"
        found = {f"{SIMILARITY}/{kind}": mean}
        if (exchange.step + 1) % exchange.every == 0:
            speeds = exchange.speeds.take(len(student))
            found |= {f"{SPEED}/{part}": torch.tensor(value) for part, value in speeds.items()}
            if rank() == 0:
                said = ", ".join(f"{part} {value:.0f}" for part, value in speeds.items())
                LOGGER.info(
                    "[synthetic][%d] images/s: %s; similarity c of %s faces %.4f", exchange.step + 1, said, kind, mean
                )
        return found


def similarity_of(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how alike two embeddings are, (B,).

    c = (1 + cos(f_S, f_T)) / 2, in [0, 1].

    Shape:
        student, teacher: (B, D).
    """
    return (1 + cosine_similarity(student.float(), teacher.float(), dim=1)) / 2


def _range(pixels: Any) -> tuple[float, float]:
    numbers = tuple(pixels) if isinstance(pixels, list | tuple) else ()
    are_numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers)
    if len(numbers) == 2 and are_numbers and -float("inf") < numbers[0] < numbers[1] < float("inf"):
        return float(numbers[0]), float(numbers[1])
    raise RecipeError(f"pixels is {pixels!r}; expected [least, largest], for example [-1, 1] or [0, 255]. Correct it.")


def _count(rec: str) -> int:
    """Return the number of images of a training set."""
    try:
        return len(open_faces(rec))
    except DataError as error:
        raise RecipeError(
            f"task synthetic: images is not set, and {rec} has no training set to count; expected how many images an epoch has. Set "
            "task.images, for example 100000."
        ) from error
