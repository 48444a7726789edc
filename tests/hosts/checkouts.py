"""Checkouts for tests: a made-up one, whose files are ours, and a copy of the user's that a test may change."""

import shutil
from pathlib import Path

TRAIN = """\
from backbones import get_model
from losses import CombinedMarginLoss
from partial_fc_v2 import PartialFC_V2


def main(args):
    return get_model(args.config), CombinedMarginLoss, PartialFC_V2
"""


def made_up_checkout(folder: Path, **files: str) -> Path:
    """Write a folder with arcface_torch's file names and next to nothing in them; `files` maps a stem to other content."""
    contents = {
        "train_v2": TRAIN,
        "partial_fc_v2": "class PartialFC_V2:\n    pass\n",
        "losses": "class CombinedMarginLoss:\n    pass\n",
        "dataset": "ORIGIN = 'made up'\n",
        **files,
    }
    for package in ("backbones", "utils", "configs", "docs"):
        (folder / package).mkdir(parents=True)
    (folder / "backbones" / "__init__.py").write_text("def get_model(name):\n    return name\n")
    (folder / "utils" / "__init__.py").write_text("")
    (folder / "utils" / "words.py").write_text("WORD = 'host'\n")
    (folder / "docs" / "read.md").write_text("")
    for stem, content in contents.items():
        (folder / f"{stem}.py").write_text(content)
    return folder


def copy_of(checkout: Path, folder: Path) -> Path:
    """Copy a checkout, so that a test can change it."""
    return Path(shutil.copytree(checkout, folder))
