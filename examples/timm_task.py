"""The same distillation as a task of timm's train.py: a class with a student and a teacher that returns a dict with `loss`.

Faces and teacher are those of distil_in_python.py. In your copy of timm's train.py, import `FaceDistillationTask` and put one line where it
chooses its task, `task = FaceDistillationTask(model, teacher)`; mean and std of the loader are 0.5. The loop below stands for the rest of
that script. Needs a timm with `timm.task` (seen with 1.0.31).

    python examples/timm_task.py work
"""

import sys
from pathlib import Path

import timm
import torch
from timm.task import TrainingTask
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.losses import CosineLoss
from insightface_cakd.teachers import Teacher, TeacherSpec, build_teacher

EPOCHS, STUDENT = 3, "mobilenetv3_small_050"


class Trainable(nn.Module):
    """A classifier of timm with a projection to the teacher's width: what DDP wraps."""

    def __init__(self, model: nn.Module, width: int) -> None:
        super().__init__()
        self.model = model
        self.projection = nn.Linear(model.head_hidden_size, width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the projected embedding."""
        features = self.model.forward_features(images)
        embeddings = self.model.forward_head(features, pre_logits=True)
        return self.model.get_classifier()(embeddings), self.projection(embeddings)


class FaceDistillationTask(TrainingTask):
    """Cross-entropy, and the direction of the teacher's embedding."""

    def __init__(self, model: nn.Module, teacher: Teacher, weight: float = 64.0) -> None:
        super().__init__()
        self.trainable_module = Trainable(model, teacher.embedding_size)
        self.teacher, self.distance, self.weight = teacher, CosineLoss(), weight

    def prepare_distributed(self, device_ids: list[int] | None = None, **options: object) -> "FaceDistillationTask":
        """Wrap what learns, and never the teacher."""
        ddp = nn.parallel.DistributedDataParallel
        self.trainable_module = ddp(self.trainable_module, device_ids=device_ids, **options)
        return self

    def forward(self, images: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the loss, its parts and the logits."""
        logits, embeddings = self.trainable_module(images)
        task_loss, kd_loss = cross_entropy(logits, target), self.distance(embeddings, self.teacher(images))
        loss = task_loss + self.weight * kd_loss
        return {"loss": loss, "output": logits, "task_loss": task_loss, "kd_loss": kd_loss}


def main(folder: Path) -> None:
    """Train a student of timm and measure its projected embedding."""
    torch.manual_seed(0)
    faces = FaceRecords(folder / "data")
    loader = DataLoader(faces, batch_size=24, shuffle=True, drop_last=True)
    spec = TeacherSpec(network="vit_tiny", weights=str(folder / "teacher" / "model.pt"))
    model = timm.create_model(STUDENT, num_classes=faces.num_classes)
    task = FaceDistillationTask(model, build_teacher(spec, get_model, "cpu"))
    optimizer = torch.optim.AdamW(task.trainable_module.parameters(), lr=1e-3)
    for epoch in range(EPOCHS):
        task.trainable_module.train()
        for pixels, target in loader:
            result = task(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1, target)
            optimizer.zero_grad()
            result["loss"].backward()
            optimizer.step()
        print(f"epoch {epoch}: " + ", ".join(f"{name} {result[name].item():.3f}" for name in ("task_loss", "kd_loss")))
    task.trainable_module.eval()
    measured = verify(lambda images: task.trainable_module(images)[1], load_bin(folder / "data" / "dev.bin"))
    print(f"{STUDENT}, projected: {100 * measured.accuracy:.2f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
