"""The sheet of generated faces that a student finds easy and hard."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.generators import Generator, resampled
from insightface_cakd.networks.weights import load_strictly, read_state
from insightface_cakd.recipe import Recipe
from insightface_cakd.report.result import Picture, Section
from insightface_cakd.runtime.run_folder import MODEL, RUN, RunFolder
from insightface_cakd.show.picture import as_png
from insightface_cakd.tasks.known import make_task
from insightface_cakd.tasks.synthetic import Synthetic, similarity_of
from insightface_cakd.teachers import build_teacher

DRAWN, SHOWN = 256, 8
BATCH = 32
# Of the latents, so that two runs are shown on the same faces.
SEED = 2048
ROWS = ("hardest", "drawn again", "easiest", "drawn again")


@dataclass(frozen=True)
class Sheet:
    """Faces of a generator, and what a student made of them.

    Args:
        faces: uint8 (4, N, 112, 112, 3): the hardest, those drawn again near them, the easiest, those drawn again near them.
        similarity: (4, N), c of each.
        drawn: c of every face from which they were chosen.
    """

    faces: np.ndarray
    similarity: np.ndarray
    drawn: np.ndarray

    @property
    def alt(self) -> str:
        """What there is to see."""
        return f"Generated faces in four rows: the {self.faces.shape[1]} hardest for the student and the easiest, each with the next drawn."

    @property
    def caption(self) -> list[str]:
        """What the picture shows, in sentences."""
        least, middle, most = np.quantile(self.drawn, (0.05, 0.5, 0.95))
        return [
            "c = (1 + cosine of student and teacher) / 2 stands above each face.",
            f"Of {len(self.drawn)} fresh faces, the {len(self.faces[0])} of the lowest c and of the highest.",
            "Below each, the face at w + c lambda n, as the run draws it next.",
            f"c of all of them: mean {self.drawn.mean():.3f}, median {middle:.3f}, 5 % below {least:.3f}, 5 % above {most:.3f}.",
        ]


@torch.no_grad()
def look_at_faces(folder: Path, device: torch.device, teacher: str | None = None, count: int = DRAWN) -> Sheet:
    """Draw fresh faces, and choose the student's hardest and easiest.

    Args:
        folder: output of a run of the task `synthetic`.
        device: where the networks run.
        teacher: the teacher's weights, if they are no longer where they were.
        count: number of fresh faces.

    Raises:
        RunError: the run is of another task, had no generator, or is not finished.
    """
    run = RunFolder(folder)
    run.require(RUN, MODEL)
    task = _task_of(folder, run)
    generator = task.load().to(device)
    recipe = Recipe.model_validate(run.recipe)
    spec = recipe.teacher
    spec.check, spec.weights = None, teacher or spec.weights
    teaches = build_teacher(spec, get_model, device)
    student = get_model(str(run.network), num_features=int(run.config["embedding_size"])).to(device).eval()
    load_strictly(student, read_state(run.model, str(run.model)), str(run.model))

    def alike(images: Tensor) -> Tensor:
        return similarity_of(student(images), teaches(images))

    random = torch.Generator().manual_seed(SEED)
    w = generator.mapping(torch.randn(count, generator.width, generator=random).to(device))
    c = torch.cat([alike(_draw(generator, part)) for part in w.split(BATCH)])
    shown = min(SHOWN, count // 2)
    chosen = torch.cat([c.argsort()[:shown], c.argsort(descending=True)[:shown]])
    noise = torch.randn(len(chosen), w.shape[-1], generator=random).to(device)
    again = _draw(generator, resampled(w[chosen], c[chosen], task.resample, noise))
    faces = torch.stack([_draw(generator, w[chosen]), again]).unflatten(1, (2, shown)).transpose(0, 1)
    found = torch.stack([c[chosen], alike(again)]).unflatten(1, (2, shown)).transpose(0, 1)
    pixels = faces.flatten(0, 1).permute(0, 1, 3, 4, 2).add(1).mul(127.5).round().byte()
    return Sheet(pixels.cpu().numpy(), found.flatten(0, 1).cpu().numpy(), c.cpu().numpy())


def draw_sheet(sheet: Sheet, title: str) -> Figure:
    """Return the picture of a sheet."""
    rows, columns = sheet.faces.shape[:2]
    figure = Figure(figsize=(1.35 * columns + 1.2, 1.55 * rows + 0.6), layout="constrained")
    for row in range(rows):
        for column in range(columns):
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            axes.imshow(sheet.faces[row, column])
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_title(f"{sheet.similarity[row, column]:.3f}", fontsize=9, pad=2)
            if column == 0:
                axes.set_ylabel(ROWS[row], fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


def faces_section(folder: Path, device: torch.device, title: str = "Easy and hard faces") -> Section:
    """Return the report's section on the faces of a run.

    Args:
        folder: output of a run of the task `synthetic`.
        device: where the networks run.
        title: of the section.
    """
    sheet = look_at_faces(folder, device)
    return Section(title, picture=Picture(as_png(draw_sheet(sheet, title)), sheet.caption, sheet.alt))


def _task_of(folder: Path, run: RunFolder) -> Synthetic:
    expected = (
        "expected a run of a recipe with task: synthetic. Name such a run, for example of --distill synthdistill."
    )
    if run.recipe is None:
        raise RunError(f"{folder}: a run without a recipe; {expected}")
    task = make_task(Recipe.model_validate(run.recipe).task)
    if not isinstance(task, Synthetic):
        raise RunError(f"{folder}: a run of the task {task.name}; {expected}")
    if task.real == 1:
        raise RunError(f"{folder}: a run of real faces alone (real: 1), which has no generator; {expected}")
    return task


def _draw(generator: Generator, w: Tensor) -> Tensor:
    return torch.cat([generator.synthesis(part, SEED) for part in w.split(BATCH)])
