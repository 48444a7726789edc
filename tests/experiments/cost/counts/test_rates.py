"""Times by a GPU's data sheet, by hand."""

import pytest
import torch

from insightface_cakd.experiments.cost.counts.operations import Operation
from insightface_cakd.experiments.cost.counts.rates import GPU, GPUS

# 100 FLOP/s in half precision, 50 in TF32, 10 in float32; 20 bytes/s; 5 bytes/s to others. Half of each is reached, a start takes 0.1 s.
SLOW = GPU("slow", 100, 50, 10, 20, 5, 1000, reached=0.5, streamed=0.5, start=0.1)


def operation(kind="matrices", dtype=torch.float32, **work):
    return Operation("student", False, "any", kind, dtype, **work)


@pytest.mark.parametrize(
    ("kind", "dtype", "seconds"),
    [
        ("matrices", torch.float32, 20),
        ("convolution", torch.float32, 4),
        ("grouped convolution", torch.float32, 4),
        ("matrices", torch.bfloat16, 2),
        ("convolution", torch.float16, 2),
    ],
)
def test_an_operator_computes_at_the_speed_of_its_precision(kind, dtype, seconds):
    assert SLOW.seconds(operation(kind, dtype, flops=100), 1) == seconds


def test_it_takes_as_long_as_the_longest_of_computing_moving_and_starting():
    assert SLOW.seconds(operation(flops=100, moved=10), 1) == 20
    assert SLOW.seconds(operation(flops=1, moved=40), 1) == 4
    assert SLOW.seconds(operation(), 1) == 0.1


def test_a_collective_takes_its_bytes_and_two_starts_for_each_other_rank():
    assert SLOW.seconds(operation(sent=5), 8) == pytest.approx(2 + 14 * 0.1)


@pytest.mark.parametrize("name", GPUS)
def test_the_assumptions_say_all_numbers(name):
    gpu, said = GPUS[name], GPUS[name].assumptions()
    assert said.startswith(f"{name}: {gpu.half / 1e12:.0f} TFLOP/s in half precision, ")
    for number in (
        f"{gpu.bandwidth / 1e12:.2f} TB/s",
        f"{gpu.link / 1e9:.0f} GB/s",
        "50% of the FLOP/s",
        "80%",
        "4 us",
    ):
        assert number in said
