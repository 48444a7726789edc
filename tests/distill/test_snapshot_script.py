"""The snapshots of a patched `train_v2.py`: the second is written when the process ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from insightface_cakd.distill.snapshot import AFTER, BEFORE
from tests.toy import WIDTH, Toy

RECIPE = """
teacher: {network: toy}
urfm: {student: conv, teacher: conv, centres: 4, width: 8, heads: 2}
losses: [{loss: urfm_feature, weight: 20}, {loss: urfm_anchor, weight: 20}]
"""
SCRIPT = """
import sys
import torch
from insightface_cakd import seam
from tests.toy import WIDTH, toy_host
from types import SimpleNamespace

torch.set_num_threads(1)
output, rank, fails = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "fails"
cfg = SimpleNamespace(output=output, rec=".", frequent=1, resume=False, seed=0)

def main(_):
    student = script.get_model("toy", num_features=WIDTH).train()
    head = script.PartialFC_V2(script.CombinedMarginLoss(64, 1.0, 0.5, 0.0, 0), WIDTH, 11, 1.0, False)
    head.train()(student(torch.rand(6, 3, 112, 112)), torch.arange(6)).backward()
    if fails:
        raise ValueError("no more disk")

script = SimpleNamespace(**vars(toy_host()), get_config=lambda path: cfg, rank=rank, local_rank=0, main=main)
seam.enter(script, "configs/mine", "recipe.yaml", "teacher.pt")
script.main(None)
"""


@pytest.mark.parametrize(
    ("rank", "end", "left"),
    [
        (0, "ends", {BEFORE, AFTER}),
        pytest.param(0, "fails", {BEFORE}, marks=pytest.mark.slow),
        pytest.param(1, "ends", set(), marks=pytest.mark.slow),
    ],
)
def test_a_patched_script_leaves_them_when_it_ends_well_on_its_first_rank(rank, end, left, tmp_path):
    torch.save(Toy(WIDTH, 4).state_dict(), tmp_path / "teacher.pt")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    root = str(Path(__file__).resolve().parents[2])
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, "out", str(rank), end],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == (end == "fails"), ran.stderr
    assert {path.name for path in (tmp_path / "out").glob("*.pt")} == left
