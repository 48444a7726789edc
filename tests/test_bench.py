"""What the benchmark prints, and that it times what it says."""

import re
from statistics import median

import pytest
import torch
from torch import nn

from insightface_cakd import bench as module
from insightface_cakd.bench import bench, machine, reading_speed
from insightface_cakd.losses import LOSSES
from tests.commands import cakd

EMBEDDING_LOSSES = [name for name, kind in LOSSES.items() if kind.reads == "embedding"]


def numbers(text):
    """Return the milliseconds of the three steps, and the ratio with its smallest and largest value."""
    times = [float(found) for found in re.findall(r"([\d.]+) ms$", text, re.MULTILINE)]
    pattern = r"distillation / \(student \+ teacher\): ([\d.]+) \(min ([\d.]+), max ([\d.]+)\)"
    return times, [float(part) for part in re.search(pattern, text).groups()]


def test_the_command_prints_machine_times_ratio_and_reading_speed(face_set):
    tiny = ["--student", "cnn_tiny", "--teacher", "vit_tiny", "--batch", 4, "--steps", 3]
    ran = cakd("bench", *tiny, "--records", face_set)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert re.match(r"cpu .*, \d+ cores, \d+ threads, torch ", lines[0])
    assert lines[1] == "student cnn_tiny, teacher vit_tiny, cosine, batch 4, median of 3 steps taken in turn"
    assert [line.split("  ")[0] for line in lines[2:5]] == ["student step", "teacher forward", "distillation step"]
    times, (middle, least, most) = numbers(ran.out)
    assert min(times) > 0
    assert least <= middle <= most
    assert re.fullmatch(r"record reading: \d+ images/s on one core, decoding included", lines[-1])


@pytest.mark.parametrize("loss", EMBEDDING_LOSSES)
def test_every_embedding_loss_can_be_timed(loss):
    assert f", {loss}, batch 4" in bench("cnn_tiny", "cnn_tiny", loss, 4, 3)


def test_the_ratio_is_taken_step_by_step_and_the_warm_up_is_left_out(monkeypatch):
    """Clock readings by hand: two slow rounds of warm-up, then 10, 5 and 18 ms, and once 30, 5 and 35 ms."""
    rounds = [(900, 900, 900)] * 2 + [(10, 5, 18), (30, 5, 35), (10, 5, 18)]
    taken = iter([milliseconds / 1000 for one in rounds for milliseconds in one])
    monkeypatch.setattr(module, "_time", lambda run, device: next(taken))
    times, ratios = numbers(bench("cnn_tiny", "cnn_tiny", "cosine", 2, 3))
    assert times == [10.0, 5.0, 18.0]
    assert ratios == [pytest.approx(median([18 / 15, 35 / 35, 18 / 15]), abs=1e-3), 1.0, 1.2]


def test_a_timed_step_is_a_training_step_and_the_teacher_stays_as_it_is(monkeypatch):
    built = []
    get_model = module.get_model

    def remembered(name, **kwargs):
        built.append(get_model(name, **kwargs))
        return built[-1]

    monkeypatch.setattr(module, "get_model", remembered)
    images, labels = torch.rand(4, 3, 112, 112), torch.randint(0, 1000, (4,))
    kinds = module._kinds("cnn_tiny", "cnn_tiny", "cosine", images, labels, torch.device("cpu"))
    before = [first_weight(network) for network in built]
    for run in kinds.values():
        run()
    teacher, alone, distilled = (
        torch.equal(then, first_weight(network)) for then, network in zip(before, built, strict=True)
    )
    assert (teacher, alone, distilled) == (True, False, False)
    assert not any(parameter.requires_grad for parameter in built[0].parameters())


def first_weight(network: nn.Module) -> torch.Tensor:
    return next(network.parameters()).detach().clone()


def test_reading_speed_counts_images_of_the_clock(face_set, monkeypatch):
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    assert reading_speed(face_set, limit=10) == 5.0


def test_the_machine_line_names_device_cores_and_versions():
    line = machine(torch.device("cpu"))
    assert re.match(r"cpu \S.*, \d+ cores, ", line)
    assert line.endswith(f", {torch.get_num_threads()} threads, torch {torch.__version__}")
