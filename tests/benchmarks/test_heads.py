"""What logits terms add to a step of the class-sharded head; a million classes stay within twice the plain head's memory."""

import re

import pytest
import torch.distributed as dist
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException
from torch.testing._internal.distributed.fake_pg import FakeStore

from benchmarks.heads import PLAIN, TERMS, HeadSize, bench_head, head_costs, head_step
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.memory import LiveTensors
from tests.commands import benchmark, benchmark_refused

LINE = re.compile(r"^(\S.*?) +([\d.]+) s +([\d.]+) MiB +([\d.]+) x time +([\d.]+) x memory$", re.MULTILINE)


@pytest.mark.slow
def test_the_command_prints_a_line_for_each_head():
    ran = benchmark("head", "--classes", 500, "--ranks", 2, "--batch", 2, "--width", 4, "--steps", 1)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(
        "500 classes of width 4 on 2 gloo ranks of one machine, 2 samples a rank, sample rate 1.0;"
    )
    rows = LINE.findall(ran.out)
    assert [kind for kind, *_ in rows] == [PLAIN, *TERMS]
    assert rows[0][3:] == ("1.00", "1.00")
    assert all(float(peak) >= 0 for _, _, peak, _, _ in rows)


def test_where_logits_are_the_most_of_it_distillation_needs_less_than_twice_the_memory():
    """One process, 64 x 20,000 logits, embeddings of width 4: weights hardly count. Naive copies would need more than twice."""
    costs = head_costs(HeadSize(classes=20_000, width=4, batch=64, sample_rate=1.0, steps=1))
    logits = 64 * 20_000 * 4
    assert costs[PLAIN][1] > 3 * logits
    for kind in TERMS:
        assert costs[kind][1] < 1.6 * costs[PLAIN][1], kind


@pytest.fixture
def first_of_eight():
    """The first of eight ranks, of which the others answer nothing."""
    dist.init_process_group("fake", rank=0, world_size=8, store=FakeStore())
    yield
    dist.destroy_process_group()


def test_a_rank_holds_its_own_classes_only(first_of_eight):
    size = HeadSize(classes=400_000, width=8, batch=1, sample_rate=1.0, steps=1)
    everything = size.classes * size.width * 4
    for term in (None, *TERMS.values()):
        with LiveTensors() as live:
            step = head_step(size, term, {})
        assert everything / 8 < live.peak < everything / 2
        del step


@pytest.mark.slow
def test_a_million_classes_need_at_most_twice_the_memory_of_the_plain_step():
    text = bench_head(HeadSize(classes=1_000_000, width=32, batch=8, sample_rate=1.0, steps=1), ranks=2)
    ratios = {kind: float(memory) for kind, _, _, _, memory in LINE.findall(text)}
    assert set(ratios) == {PLAIN, *TERMS}
    assert all(memory <= 2 for memory in ratios.values()), text


def test_a_rank_that_the_machine_kills_is_told_in_a_line(monkeypatch):
    def killed(*_, **__):
        raise ProcessExitedException("process 1 terminated", 1, 7, -9, "SIGKILL")

    monkeypatch.setattr("torch.multiprocessing.spawn", killed)
    with pytest.raises(RunError, match="head: a rank ended with code -9; .* runs out of memory"):
        bench_head(HeadSize(classes=10, width=4, batch=2, sample_rate=1.0, steps=1), 2)


def test_a_rank_without_memory_is_told_in_a_line(monkeypatch):
    def refused(*_, **__):
        raise ProcessRaisedException("RuntimeError: DefaultCPUAllocator: can't allocate memory", 0, 7)

    monkeypatch.setattr("torch.multiprocessing.spawn", refused)
    with pytest.raises(RunError, match="head: a rank cannot have the memory for its share of 10 classes"):
        bench_head(HeadSize(classes=10, width=4, batch=2, sample_rate=1.0, steps=1), 1)


def test_more_ranks_than_classes_are_refused(tmp_path):
    message = "head: 3 ranks for 2 classes; expected 1 to 2"
    benchmark_refused(["head", "--classes", 2, "--ranks", 3], message, tmp_path)
