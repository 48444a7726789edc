"""GKD on a million classes over two ranks: what a step of it needs beside one of the plain head."""

import time

import pytest
import torch
from torch.nn.functional import normalize

from insightface_cakd.experiments.cost.memory import peak_memory
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.tasks import seam
from insightface_cakd.teachers.base import Teacher
from tests.ranks import run_ranks
from tests.toy import Toy, toy_host

CLASSES = 1_000_000
BATCH, WIDTH, STEPS = 8, 32, 3
TERMS = {
    "plain": None,
    "kd": {"loss": "kd", "weight": 1},
    **{name: {"loss": "gkd", "weight": 1, "grouping": name} for name in ("per_sample", "fixed", "adaptive")},
}


def build(term, centres):
    """Return a student and its head, with the term's teacher or plain."""
    torch.manual_seed(0)
    host = toy_host()
    if term is not None:
        recipe = parse_recipe({"teacher": {"network": "toy", "centres": [str(centres)]}, "losses": [term]}, "recipe")
        teacher = Teacher.of_network(Toy(WIDTH, 6), "toy", WIDTH, torch.device("cpu"))
        seam.install(host, recipe, {"teacher": teacher})
    student = host.get_model("toy", num_features=WIDTH).train()
    head = host.PartialFC_V2(host.CombinedMarginLoss(64, 1.0, 0.0, 0.4), WIDTH, CLASSES, 1.0, False).train()
    return student, head


def measure(centres):
    """Return peak bytes and seconds of a step, by method."""
    generator = torch.Generator().manual_seed(rank())
    images = torch.rand(BATCH, 3, 112, 112, generator=generator) * 2 - 1
    labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
    found = {}
    for name, term in TERMS.items():
        student, head = build(term, centres)

        def step(student=student, head=head):
            loss = head(student(images), labels.clone())
            loss.backward()
            student.zero_grad()
            head.zero_grad()
            return float(loss.detach())

        assert step() == step()
        peak, start = peak_memory(step, torch.device("cpu")), time.perf_counter()
        for _ in range(STEPS):
            step()
        found[name] = (peak, (time.perf_counter() - start) / STEPS)
    return found


@pytest.mark.slow
def test_a_step_needs_at_most_twice_the_memory_of_the_plain_head(tmp_path):
    centres = tmp_path / "head.pt"
    torch.save({"weight": normalize(torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(1)))}, centres)
    for number, found in enumerate(run_ranks(measure, 2, centres)):
        plain, _ = found["plain"]
        for name, (peak, seconds) in found.items():
            print(
                f"rank {number} {name:10} peak {peak / 2**20:.0f} MiB, {peak / plain:.2f} of plain; {seconds:.2f} s a step"
            )
            assert peak <= 2 * plain
