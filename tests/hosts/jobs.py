"""A job small enough for a test, on a checkout: mbf, 48 drawn faces of 12 people, 4 steps an epoch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import torch

from insightface_cakd.hosts.embedded.backbones import get_model

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
from easydict import EasyDict

config = EasyDict(
    network="mbf", embedding_size=64, rec={rec!r}, num_classes=12, num_image=48, num_epoch=1, warmup_epoch=0,
    batch_size=12, lr=0.02, optimizer="sgd", fp16=False, sample_rate=1.0, val_targets=[], verbose=1000, frequent=1,
    num_workers=0, output=None,
)
"""
RECIPE = """\
about: for a test
teacher:
  network: mbf
losses:
  - loss: cosine
    weight: 64
"""


def write_job(folder: Path, rec: Path, name: str = "small") -> Path:
    """Write the config file of the job."""
    path = folder / f"{name}.py"
    path.write_text(CONFIG.format(rec=str(rec)))
    return path


def write_recipe(folder: Path) -> tuple[str, str]:
    """Write a cosine recipe and a teacher's weights; return both paths."""
    (folder / "recipe.yaml").write_text(RECIPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("mbf", num_features=64).state_dict(), folder / "teacher.pt")
    return str(folder / "recipe.yaml"), str(folder / "teacher.pt")


def logged_losses(output: Path) -> dict[int, float]:
    """Return step -> loss from arcface_torch's training.log, which leaves out the first step."""
    found = re.findall(r"Loss ([\d.]+|nan) .*Global Step: (\d+)", (output / "training.log").read_text())
    return {int(step): float(loss) for loss, step in found}


def equal_weights(first: Path, second: Path) -> bool:
    """Return whether two model files hold the same numbers, bit for bit."""
    one, other = (torch.load(path, weights_only=True, map_location="cpu") for path in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def run_python(folder: Path, *arguments: object) -> tuple[int, str]:
    """Run Python in a folder as a user does, outside of any torchrun; return its exit code and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def torchrun(folder: Path, *arguments: object) -> str:
    """Run `cakd train` on two ranks; return what they printed."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    code, said = run_python(folder, *launcher, "-m", "insightface_cakd", "train", *arguments)
    assert code == 0, said
    return said
