"""A patched copy of arcface_torch, its modules, and its training script run by plain Python."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from insightface_cakd.hosts.patching import apply

ROOT = Path(__file__).resolve().parent.parent
JOB = """
from easydict import EasyDict as edict
config = edict(margin_list=(1.0, 0.5, 0.0), network="mbf", resume=False, output={output!r}, embedding_size=512, sample_rate=0.5,
    fp16=False, weight_decay=5e-4, batch_size=16, optimizer="sgd", lr=0.02, verbose=100, frequent=1, rec={rec!r}, num_classes=12,
    num_image=48, num_epoch=1, warmup_epoch=0, val_targets=[], save_all_states=True)
"""
RECIPE = "teacher:\n  network: r18\nlosses:\n  - loss: cosine\n    weight: 64\n"


def patched_copy(arcface_torch: Path, folder: Path) -> Path:
    """Return a copy of the checkout in a new folder, with the patches in."""
    shutil.copytree(arcface_torch, folder, ignore=shutil.ignore_patterns("__pycache__"))
    apply(folder)
    return folder


def run(folder: Path, *arguments: object, module: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script of the folder with this Python, our package importable, outside of any torchrun."""
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *(["-m", module] if module else []), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def train(folder: Path, data: Path, output: Path, *arguments: object, ranks: int = 1) -> str:
    """Run `train_v2.py` on three batches of faces; return what it printed."""
    (folder / "configs" / f"{output.name}.py").write_text(JOB.format(output=str(output), rec=str(data)))
    command = ["train_v2.py", f"configs/{output.name}", *arguments]
    torchrun = ["--nproc_per_node", ranks, "--master_port", free_port()] if ranks > 1 else []
    ended = run(folder, *torchrun, *command, module="torch.distributed.run" if ranks > 1 else None)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return ended.stdout


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Return step and value of what a run logged."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def weights(output: Path) -> dict[str, torch.Tensor]:
    """Return the student that a run saved."""
    return torch.load(output / "model.pt", weights_only=True)
