"""The same distillation in a plain torch loop: a loss of the package is a module, and so is a teacher.

Faces and teacher are those of distil_in_python.py. Nothing here is arcface_torch's; the lines of distillation are marked with "<-".

    python examples/torch_loop.py work
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize
from torch.utils.data import DataLoader

import insightface_cakd as cakd
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.losses import CosineLoss
from insightface_cakd.teachers import TeacherSpec, build_teacher

EPOCHS, SCALE, WEIGHT = 3, 16, 64


def as_input(pixels: Tensor) -> Tensor:
    """Return uint8 (B, 112, 112, 3) RGB as (B, 3, 112, 112) in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def main(folder: Path) -> None:
    """Train a student, save its weights, and measure them."""
    torch.manual_seed(0)
    faces = FaceRecords(folder / "data")
    loader = DataLoader(faces, batch_size=24, shuffle=True, drop_last=True)
    spec = TeacherSpec(network="vit_tiny", weights=str(folder / "teacher" / "model.pt"))  # <-
    teacher = build_teacher(spec, get_model, "cpu")  # <- frozen, in eval mode, never under DDP
    distance = CosineLoss()  # <-
    student = get_model("cnn_tiny", num_features=teacher.embedding_size).train()
    centres = nn.Parameter(0.01 * torch.randn(faces.num_classes, teacher.embedding_size))
    optimizer = torch.optim.AdamW([*student.parameters(), centres], lr=1e-3)
    for epoch in range(EPOCHS):
        for pixels, labels in loader:
            images = as_input(pixels)
            embeddings = student(images)
            logits = SCALE * linear(normalize(embeddings), normalize(centres))
            learnt = distance(embeddings, teacher(images))  # <-
            loss = cross_entropy(logits, labels) + WEIGHT * learnt  # <-
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.2f}, 1 - cosine to the teacher {learnt.item():.3f}")
    torch.save(student.state_dict(), folder / "torch_loop.pt")
    print(cakd.evaluate(folder / "torch_loop.pt", folder / "data" / "dev.bin", network="cnn_tiny"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
