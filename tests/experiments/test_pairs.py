"""Students of several seeds on the same pairs: gains, intervals, tests, TAR@FAR."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import VerificationSet, load_bin
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.bootstrap import Resamples, paired
from insightface_cakd.evaluate.pairs.verification import judge
from insightface_cakd.experiments.distances import distances_of
from insightface_cakd.experiments.pairs import PairTables, shared_sets
from insightface_cakd.experiments.runs import Comparison, compare
from insightface_cakd.experiments.table import ALONE, TEACHER
from tests.commands import benchmark
from tests.experiments.test_runs import SMALL, teacher

__all__ = ["teacher"]
PAIRS = 400
SAME = np.arange(PAIRS) % 2 == 0


def student(seed, apart):
    """Return a judgement whose same and different pairs lie so far apart."""
    random = np.random.default_rng(seed)
    return judge(np.clip(random.normal(2 - apart * SAME, 0.4), 0, 4), SAME, "drawn")


def tables(seeds=3, people=None, **apart):
    pairs = VerificationSet(np.zeros((2 * PAIRS, 1, 1, 3), np.uint8), SAME, people)
    judged = {
        name: [student(10 * number + seed, by) for seed in range(seeds)]
        for number, (name, by) in enumerate(apart.items())
    }
    return PairTables({"dev": pairs}, {"dev": judged})


def test_a_gain_is_the_mean_of_the_seeds_and_its_interval_is_over_the_pairs_alone():
    found = tables(alone=0.6, better=1.0)
    alone, better = (found.judged["dev"][name] for name in ("alone", "better"))
    gain = found.gains["dev"]["better"]
    assert gain.accuracy == pytest.approx(
        np.mean([b.accuracy - a.accuracy for b, a in zip(better, alone, strict=True)])
    )
    drawn = Resamples(SAME)
    each = np.mean(
        [
            drawn.mean(b.right.astype(float)) - drawn.mean(a.right.astype(float))
            for b, a in zip(better, alone, strict=True)
        ],
        0,
    )
    assert (gain.interval.low, gain.interval.high) == pytest.approx(tuple(np.quantile(each, [0.025, 0.975])))
    assert gain.interval.low < gain.accuracy < gain.interval.high


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_p_is_twice_the_median_of_the_seeds_or_that_of_the_only_one(seeds):
    found = tables(seeds, alone=0.8, better=0.9)
    each = [
        paired(b.right, a.right).p for b, a in zip(*(found.judged["dev"][n] for n in ("better", "alone")), strict=True)
    ]
    assert found.gains["dev"]["better"].p == (min(1, 2 * np.median(each)) if seeds > 1 else each[0])


def test_pairs_of_few_people_say_less_than_pairs_of_many():
    people = np.stack([np.arange(PAIRS) % 20, (np.arange(PAIRS) + ~SAME * 7) % 20], axis=1)
    few, many = (tables(people=one, alone=0.6, better=1.0).gains["dev"]["better"].interval for one in (people, None))
    assert few.high - few.low > many.high - many.low


def test_the_student_alone_and_the_teacher_have_no_gain_and_every_method_has_a_row():
    found = tables(**{TEACHER: 1.5, ALONE: 0.6, "better": 1.0})
    rows = found.rows("dev")
    assert [row["method"] for row in rows] == [TEACHER, ALONE, "better"]
    assert [bool(row["gain"]) for row in rows] == [False, False, True]
    # 200 different pairs support a FAR of 1e-2, and none below 1 in 200.
    assert all("TAR@1e-02" in row and "TAR@1e-03" not in row for row in rows)
    assert (
        json.loads(json.dumps(found.facts()))["dev"]["better"]["gain"]["accuracy"]
        == found.gains["dev"]["better"].accuracy
    )


def test_a_comparison_on_shared_pairs_ends_with_their_tables(face_set, teacher, tmp_path):
    outcome = compare(
        tmp_path, Comparison(("cosine",), (1,), data=face_set, teacher=str(teacher / "model.pt"), settings=SMALL)
    )
    assert outcome.pairs is not None
    (row,) = [row for row in outcome.rows if row.name == "cosine"]
    assert outcome.pairs.facts()["dev"]["cosine"]["accuracy"] == [row.runs[0].accuracy]
    assert "On `dev`, 20 pairs" in (tmp_path / "compare.md").read_text()
    assert json.loads((tmp_path / "pairs.json").read_text()) == outcome.pairs.facts()


def test_only_sets_that_lie_in_the_shared_data_are_shared(face_set, tmp_path):
    run = tmp_path / "1" / ALONE
    run.mkdir(parents=True)
    (run / "result.json").write_text('{"accuracy": {"dev": 0.5, "other": 0.5}}')
    assert shared_sets(tmp_path, None, (1,)) == {}
    assert list(shared_sets(tmp_path, face_set, (1,))) == ["dev"]


def test_runs_of_any_origin_are_measured_by_the_benchmark(face_set, teacher, tmp_path):
    for name in (ALONE, "better"):
        (tmp_path / "runs" / "7").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / "7" / name).symlink_to(teacher, target_is_directory=True)
    ran = benchmark("pairs", tmp_path / "runs", face_set / "dev.bin", "--json", tmp_path / "pairs.json")
    assert ran.code == 0, ran.err
    assert "On `dev`, 20 pairs" in ran.out
    gain = json.loads((tmp_path / "pairs.json").read_text())["dev"]["better"]["gain"]
    assert gain == {"accuracy": 0, "interval": [0, 0], "p": 1}
    (tmp_path / "runs" / "7" / ALONE).rename(tmp_path / "runs" / "7" / "other")
    assert "expected one called alone" in benchmark("pairs", tmp_path / "runs", face_set / "dev.bin").err
    said = benchmark("pairs", tmp_path / "runs", face_set / "dev.bin", "--against", "other").out
    assert "McNemar's exact test against `other` of the same seed" in said
    assert re.search(r"^\| better .*\| \+0\.00 \[", said, re.MULTILINE)
    assert re.search(r"^\| other +\| +[\d.]+ +\| +\| +\|$", said, re.MULTILINE)
    assert "has no SEED/METHOD" in benchmark("pairs", tmp_path / "none", face_set / "dev.bin").err


@pytest.fixture
def run(teacher, tmp_path):
    """A copy of a finished run."""
    return Path(shutil.copytree(teacher, tmp_path / "run"))


def test_what_was_measured_is_kept_and_outlives_the_weights(run, face_set):
    pairs = load_bin(face_set / "dev.bin")
    found = distances_of(run, {"dev": pairs})["dev"]
    assert found.shape == (20,)
    (run / "model.pt").unlink()
    assert np.array_equal(distances_of(run, {"dev": pairs})["dev"], found)
    with pytest.raises(EvaluationError, match=r"without model.pt"):
        distances_of(run, {"other": pairs})


def test_other_weights_and_other_pairs_are_measured_anew(run, face_set):
    pairs = load_bin(face_set / "dev.bin")
    first = distances_of(run, {"dev": pairs})["dev"]
    fewer = VerificationSet(pairs.images[:40:], pairs.same[:20])
    fewer.images[0] = 0
    assert distances_of(run, {"dev": fewer})["dev"][0] != first[0]
    state = torch.load(run / "model.pt", weights_only=True)
    torch.save(
        {key: value * 1.5 if key.endswith("0.weight") else value for key, value in state.items()}, run / "model.pt"
    )
    assert not np.array_equal(distances_of(run, {"dev": load_bin(face_set / "dev.bin")})["dev"], first)


@pytest.mark.parametrize("content", ["{", "[1]", '{"dev": {"pairs": 1}}'])
def test_a_damaged_file_is_named(content, run, face_set):
    (run / "distances.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"distances.json: .*expected what an evaluation wrote"):
        distances_of(run, {"dev": load_bin(face_set / "dev.bin")})["dev"]
