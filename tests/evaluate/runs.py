"""Output folders as `cakd train` leaves them, written without training."""

import json
import math
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

STEPS = 60


def write_run(folder: Path, distilled: bool = False) -> Path:
    """Write the events, run.json and result.json of a run."""
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for step in range(0, STEPS, 2):
            writer.add_scalar("train/loss", 30 * math.exp(-step / 30), step)
            writer.add_scalar("train/learning_rate", 0.1 * (1 - step / STEPS) ** 2, step)
            writer.add_scalar("train/images_per_second", 700 + 40 * math.sin(step), step)
        for step in (20, 40, 60):
            writer.add_scalar("accuracy/dev", 0.6 + step / 300 + 0.03 * distilled, step)
    config = {"network": "cnn_tiny", "embedding_size": 512, "seed": 2048, "num_epoch": 8, "batch_size": 64, "lr": 0.1}
    facts = {
        "insightface_cakd": "0.1.0",
        "config": config,
        "versions": {"python": "3.11", "torch": "2.15.0"},
        "ranks": 1,
    }
    if distilled:
        write_terms(folder / "tensorboard" / "distill")
        facts["recipe_name"] = "cosine"
        facts["recipe"] = {
            "teacher": {"network": "vit_tiny"},
            "losses": [{"loss": "cosine", "name": "cosine", "weight": 64.0, "projector": None}],
        }
        facts["teacher"] = {"name": "vit_tiny", "sha256": "ab" * 32, "accuracy": 0.91, "licence": None}
    result = {
        "accuracy": {"dev": 0.83},
        "best": {"dev": 0.83},
        "steps": STEPS,
        "seconds": 31.4,
        "images_per_second": 704.2,
    }
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def write_terms(folder: Path) -> None:
    """Write what the distillation logs."""
    with SummaryWriter(str(folder)) as writer:
        for step in range(0, STEPS, 2):
            cosine = 0.9 * math.exp(-step / 20) + 0.1
            writer.add_scalar("distill/raw/margin", 30 * math.exp(-step / 30), step)
            writer.add_scalar("distill/raw/cosine", cosine, step)
            writer.add_scalar("distill/weighted/cosine", 64 * cosine, step)
            for number, name in enumerate(("urfm_attention", "urfm_feature", "urfm_anchor", "prompt_anchor"), start=1):
                writer.add_scalar(f"distill/raw/{name}", cosine / number, step)
                writer.add_scalar(f"distill/weighted/{name}", cosine, step)
            writer.add_scalar("distill/gradient_ratio", 0.4 + step / 50, step)
