"""What the benchmark prints."""

import json
import re
from statistics import median

import pytest
import torch

from insightface_cakd.experiments import cost as module
from insightface_cakd.experiments.cost import bench, machine, reading_speed
from insightface_cakd.experiments.cost.steps import ALONE, ANCHOR, DISTILLATION, FORWARD, LEARNING
from tests.commands import cakd

NUMBER = r"([\d.]+)"


def times(text):
    """Return milliseconds and MiB of each kind."""
    found = re.findall(rf"^(\S.*?) +{NUMBER} ms +{NUMBER} MiB$", text, re.MULTILINE)
    return {kind: (float(taken), float(peak)) for kind, taken, peak in found}


def ratios(text):
    """Return median, smallest and largest ratio by what is divided."""
    found = re.findall(rf"^(distillation / .*): {NUMBER} \(min {NUMBER}, max {NUMBER}\)$", text, re.MULTILINE)
    return {name: tuple(map(float, numbers)) for name, *numbers in found}


@pytest.fixture
def clock(monkeypatch):
    """Clock readings by hand, in milliseconds: rounds of as many as there are kinds of call."""

    def wind(*rounds):
        taken = iter([milliseconds / 1000 for one in rounds for milliseconds in one])
        monkeypatch.setattr(module, "_time", lambda run, device: next(taken))

    return wind


def test_the_command_prints_machine_times_memory_ratio_and_reading_speed(face_set, tmp_path):
    tiny = ["--network", "cnn_tiny", "--batch-size", 4, "--steps", 3]
    ran = cakd("bench", *tiny, "--data", face_set, "--json", tmp_path / "bench.json")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert re.match(r"cpu .*, \d+ cores, \d+ threads, torch ", lines[0])
    said = "student cnn_tiny, teacher vit_tiny, recipe cosine, fp32, batch 4, median of 3 steps taken in turn, peak memory of one"
    assert lines[1] == said
    assert list(times(ran.out)) == [ALONE, FORWARD, DISTILLATION]
    assert min(min(pair) for pair in times(ran.out).values()) > 0
    (name, (middle, least, most)), *rest = ratios(ran.out).items()
    assert name == "distillation / floor (student step + teacher forward)"
    assert not rest
    assert least <= middle <= most
    assert re.fullmatch(r"record reading: \d+ images/s on one core, decoding included", lines[-1])
    written = json.loads((tmp_path / "bench.json").read_text())
    assert [len(written["seconds"][kind]) for kind in times(ran.out)] == [3, 3, 3]
    assert written["ratios"][0]["median"] == pytest.approx(middle, abs=1e-3)
    assert written["reading"] == pytest.approx(float(lines[-1].split()[2]), abs=1)


def test_a_recipe_with_prompts_has_their_backward_in_its_floor_and_its_anchors_beside_it():
    ran = cakd("bench", "--distill", "cakd", "--network", "cnn_tiny", "--batch-size", 2, "--steps", 3)
    assert ran.code == 0, ran.err
    assert list(times(ran.out)) == [ALONE, LEARNING, ANCHOR, DISTILLATION]
    assert list(ratios(ran.out)) == [
        "distillation / floor (student step + teacher forward, backward to prompts)",
        "distillation / (floor + plain embeddings for anchors)",
    ]


def test_the_teacher_may_be_another_network_than_the_recipes(face_set):
    ran = cakd(
        "bench", "--network", "cnn_tiny", "--recipe-set", "teacher.network=cnn_tiny", "--batch-size", 2, "--steps", 3
    )
    assert "student cnn_tiny, teacher cnn_tiny, recipe cosine" in ran.out


def test_the_ratio_is_taken_step_by_step_and_the_warm_up_is_left_out(clock):
    clock(*[(900, 900, 900)] * 2, (10, 5, 18), (30, 5, 35), (10, 5, 18))
    text = bench("cosine", "cnn_tiny", (), 2, 3).text()
    assert [taken for taken, _ in times(text).values()] == [10.0, 5.0, 18.0]
    assert list(ratios(text).values()) == [(pytest.approx(median([18 / 15, 35 / 35, 18 / 15]), abs=1e-3), 1.0, 1.2)]


def test_the_anchors_are_no_part_of_the_floor(clock):
    clock(*[(900, 900, 900, 900)] * 2, *[(10, 20, 10, 45)] * 3)
    assert list(ratios(bench("cakd", "cnn_tiny", (), 2, 3).text()).values()) == [(1.5, 1.5, 1.5), (1.125, 1.125, 1.125)]


def test_reading_speed_counts_images_of_the_clock(face_set, monkeypatch):
    ticks = iter([100.0, 102.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    assert reading_speed(face_set, limit=10) == 5.0


def test_the_machine_line_names_device_cores_and_versions():
    line = machine(torch.device("cpu"))
    assert re.match(r"cpu \S.*, \d+ cores, ", line)
    assert line.endswith(f", {torch.get_num_threads()} threads, torch {torch.__version__}")
