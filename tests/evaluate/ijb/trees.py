"""Small IJB trees drawn at random, and models that are quick."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from insightface_cakd.data.align.similarity import TEMPLATE


def write_tree(root: Path, images: int = 48, templates: int = 12, pairs: int = 60, seed: int = 0) -> Path:
    """Write `root/IJBC` with pictures of noise; template 3 t + 2 shows subject t % (templates / 2)."""
    random = np.random.default_rng(seed)
    folder = root / "IJBC"
    (folder / "meta").mkdir(parents=True)
    (folder / "loose_crop").mkdir()
    place = np.r_[np.arange(templates), random.integers(0, templates, images - templates)]
    random.shuffle(place)
    points, faces = [], []
    for number in range(images):
        name = f"{number + 1}.jpg"
        blocks = random.integers(0, 256, (9, 9, 3)).astype(np.uint8)
        side = int(random.integers(120, 170))
        cv2.imwrite(str(folder / "loose_crop" / name), cv2.resize(blocks, (side, side), interpolation=cv2.INTER_CUBIC))
        where = TEMPLATE * side / 112 + random.normal(0, 3, (5, 2))
        points.append(f"{name} {' '.join(f'{value:.3f}' for value in where.ravel())} {random.uniform(0.5, 1):.3f}")
        faces.append(f"{name} {3 * place[number] + 2} {10 * place[number] + random.integers(0, 3)}")
    write_list(folder, "name_5pts_score.txt", points)
    write_list(folder, "face_tid_mid.txt", faces)
    subjects = templates // 2
    first, second = random.integers(0, templates, (2, pairs))
    first[:2], second[:2] = [0, 1], [subjects, subjects + 2]
    lines = [f"{3 * a + 2} {3 * b + 2} {int(a % subjects == b % subjects)}" for a, b in zip(first, second, strict=True)]
    write_list(folder, "template_pair_label.txt", lines)
    half = subjects // 2
    for name, chosen in (("G1", range(half)), ("G2", range(half, subjects))):
        rows = [f"{3 * place + 2},{place},x.jpg" for place in chosen]
        write_list(folder, f"1N_gallery_{name}.csv", ["TEMPLATE_ID,SUBJECT_ID,FILENAME", *rows])
    rows = [f"{3 * place + 2},{place - subjects},x.jpg" for place in range(subjects, templates) for _ in range(2)]
    write_list(folder, "1N_probe_mixed.csv", ["TEMPLATE_ID,SUBJECT_ID,FILENAME", *rows])
    return root


def write_list(folder: Path, name: str, lines: list[str]) -> None:
    (folder / "meta" / f"ijbc_{name}").write_text("".join(line + "\n" for line in lines))


class Projection(nn.Module):
    """A recogniser of a few random layers; its result for an image does not depend on the others of the batch."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(5)
        layers = [nn.Conv2d(3, 8, 5, stride=4), nn.PReLU(8), nn.Conv2d(8, 16, 3, stride=2), nn.PReLU(16)]
        self.layers = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * 6 * 6, width), nn.PReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def write_onnx(path: Path, net: nn.Module, batch: int | None = None, size: int = 112, outputs: int = 1) -> Path:
    """Export a network with a free batch, or one fixed; `outputs` gives it more than one."""
    names = [f"out{number}" for number in range(outputs)]
    axes = {"input": {0: "batch"}, **{name: {0: "batch"} for name in names}} if batch is None else None
    images = torch.zeros(batch or 2, 3, size, size)
    torch.onnx.export(
        net.eval(), (images,), path, dynamo=False, input_names=["input"], output_names=names, dynamic_axes=axes
    )
    return path
