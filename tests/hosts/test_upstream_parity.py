"""Both hosts do the same: the same losses step by step from the same weights, images and seed, and the same order of images."""

import json
import sys

import pytest
import torch

from insightface_cakd.hosts import upstream
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded.dataset import get_dataloader
from tests.hosts.both_hosts import SharedJob, double_precision, on_checkout, on_embedded, write_full_recipe
from tests.hosts.jobs import run_python, write_recipe
from tests.jobs import taught

pytestmark = pytest.mark.upstream
COSFACE, ARCFACE = (1.0, 0.0, 0.4), (1.0, 0.5, 0.0)
RECIPES = {"plain": None, "cosine": write_recipe, "full": write_full_recipe}
STEPS = 4


@pytest.fixture
def losses(folder, arcface_torch, face_set):
    """Return the losses of a job on the embedded host and on the checkout."""

    def run(name, **changes):
        recipe = RECIPES[name] and taught(*RECIPES[name](folder))
        given = {"recipe": recipe, "steps": STEPS, "changes": changes}
        ours = on_embedded(SharedJob(face_set, folder / "embedded", **given)).losses
        theirs = on_checkout(SharedJob(face_set, folder / "checkout", **given), arcface_torch).losses
        assert len(ours) == len(theirs) == STEPS
        return ours, theirs

    return run


@pytest.mark.parametrize(
    ("name", "margins", "sample_rate", "optimizer", "lr"),
    [
        ("plain", COSFACE, 0.5, "sgd", 0.02),
        ("plain", ARCFACE, 1.0, "adamw", 0.001),
        ("cosine", ARCFACE, 0.5, "adamw", 0.001),
        ("full", COSFACE, 1.0, "sgd", 0.02),
        ("full", ARCFACE, 0.5, "sgd", 0.02),
    ],
)
def test_the_same_losses_step_by_step(name, margins, sample_rate, optimizer, lr, losses):
    """In float64, where rounding does not hide a difference: four steps of batch norm over 8 images magnify it a thousand times."""
    with double_precision():
        ours, theirs = losses(name, margin_list=margins, sample_rate=sample_rate, optimizer=optimizer, lr=lr)
    assert ours == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize(("margins", "tolerance"), [(COSFACE, 1e-6), (ARCFACE, 1e-2)])
def test_in_single_precision_up_to_rounding(margins, tolerance, losses):
    """CosFace rounds alike on both hosts.

    ArcFace does not: arcface_torch sends every cosine through acos and cos, the embedded host only the target's. That is 3e-7 of the
    loss after the first step, and grows with every further one.
    """
    ours, theirs = losses("full", margin_list=margins, sample_rate=0.5)
    assert ours[:2] == pytest.approx(theirs[:2], rel=1e-5)
    assert ours == pytest.approx(theirs, rel=tolerance)


def test_the_same_images_in_the_same_order_mirrored_by_other_draws(folder, arcface_torch, face_set):
    with upstream.opened(find_checkout(arcface_torch)) as host:
        theirs = host.train_v2.get_dataloader(str(face_set), 0, 12, seed=5, num_workers=0)
        ours = get_dataloader(str(face_set), 0, 12, False, False, 5, 0, torch.device("cpu"), 12)
        mirrored = 0
        for epoch in range(2):
            theirs.sampler.set_epoch(epoch)
            ours.set_epoch(epoch)
            for (their_images, their_labels), (images, labels) in zip(theirs, ours, strict=True):
                assert torch.equal(labels, their_labels)
                same = (images - their_images).abs().amax((1, 2, 3)) < 1e-6
                flipped = (images.flip(-1) - their_images).abs().amax((1, 2, 3)) < 1e-6
                assert (same | flipped).all()
                mirrored += int((~same).sum())
    assert 0 < mirrored < 96


ON_A_RANK = """
import json, os, sys
from pathlib import Path
import torch
from tests.jobs import taught
from tests.hosts.both_hosts import SharedJob, double_precision, on_checkout, on_embedded

host, data, checkout, recipe, teacher = sys.argv[1:]
torch.set_num_threads(1)
with double_precision():
    job = SharedJob(Path(data), Path(host), taught(recipe, teacher), 3, changes={"sample_rate": 0.5, "num_image": 48})
    seen = on_embedded(job) if host == "embedded" else on_checkout(job, Path(checkout))
Path(f"{host}{os.environ['RANK']}.json").write_text(json.dumps(seen.losses))
"""


@pytest.mark.slow
def test_two_ranks_the_same_losses_step_by_step(folder, arcface_torch, face_set):
    with double_precision():
        given = [face_set, arcface_torch, *write_full_recipe(folder)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--no-python", sys.executable]
    for host in ("embedded", "checkout"):
        code, said = run_python(folder, *launcher, "-c", ON_A_RANK, host, *given)
        assert code == 0, said
    for rank in range(2):
        ours, theirs = (json.loads((folder / f"{host}{rank}.json").read_text()) for host in ("embedded", "checkout"))
        assert len(ours) == 3
        assert ours == pytest.approx(theirs, rel=1e-10)
