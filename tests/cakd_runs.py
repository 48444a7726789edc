"""A run of CAKD, small: a tiny ViT whose prompts learn teaches a tiny CNN."""

from pathlib import Path

import torch
import yaml

from insightface_cakd.hosts.embedded.backbones import get_model

RECIPE = {
    "teacher": {"network": "vit_tiny", "prompts": {"tokens": 2}},
    "urfm": {"student": "layer4", "centres": 9, "width": 32, "heads": 4},
    "losses": [
        {"loss": "urfm_attention", "weight": 100},
        {"loss": "urfm_feature", "weight": 10},
        {"loss": "urfm_anchor", "weight": 10},
        {"loss": "prompt_anchor", "weight": 10},
    ],
}


def write_teacher(path: Path) -> Path:
    """Write random weights of the teacher."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("vit_tiny", num_features=64).state_dict(), path)
    return path


def write_cakd(path: Path, **changes: object) -> Path:
    """Write the recipe, with parts replaced; None takes a part away."""
    content = {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}
    path.write_text(yaml.safe_dump(content))
    return path
