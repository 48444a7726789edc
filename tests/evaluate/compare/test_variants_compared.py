"""Variants of one .bin hold the same pairs: seen again, they are no further evidence, in no output."""

import json

import numpy as np
import pytest
import torch

from insightface_cakd.evaluate.compare.comparison import Cost, Pairs, compare_pairs
from insightface_cakd.evaluate.compare.run import NUMBERS, PAGE, TEXT, compare_models, write_outcome
from insightface_cakd.evaluate.compare.tables import ModelComparison
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.bootstrap import paired
from insightface_cakd.evaluate.pairs.sets import varied_sets
from insightface_cakd.evaluate.pairs.variants import parse_variants
from insightface_cakd.networks.entries import run_entry
from insightface_cakd.networks.latency import Latency
from tests.evaluate.compare.test_comparison import SAME, distances
from tests.evaluate.verification_files import write_set
from tests.teachers.faces import get_model, saved

COSTS = {name: Cost("torch", 1.5, 2_000_000, Latency(3.0, 2.5, 4.0, 9)) for name in ("alone", "kd")}
SETS = {"alone": distances(0.8, 1), "kd": distances(1.3, 2)}


def repeated(times, source="lfw", noise=1e-9):
    """The same pairs so many times over, told to be variants of one set, each a little different."""
    names = ["lfw", *(f"lfw, lowres:{number}" for number in range(1, times))]
    return {
        name: Pairs(SAME, {model: values + number * noise for model, values in SETS.items()}, source)
        for number, name in enumerate(names)
    }


def width(interval):
    return interval.high - interval.low


@pytest.mark.parametrize("times", [2, 7])
def test_the_same_pairs_again_narrow_no_interval(times):
    once, again = compare_pairs(repeated(1)).models, compare_pairs(repeated(times)).models
    assert width(again["kd"].mean_interval) == pytest.approx(width(once["kd"].mean_interval))
    assert width(again["alone"].mean_interval) == pytest.approx(width(once["alone"].mean_interval))
    assert width(again["kd"].difference.interval) == pytest.approx(width(once["kd"].difference.interval))


def test_sets_of_other_pairs_do_narrow_it():
    """Four independent sets: half as wide."""
    once, four = compare_pairs(repeated(1)), compare_pairs(repeated(4, source=None))
    ratio = width(four.models["kd"].mean_interval) / width(once.models["kd"].mean_interval)
    assert ratio == pytest.approx(0.5, abs=0.1)
    assert (once.varied, four.varied, four.pairs) == (False, False, 800)


def test_p_and_the_number_of_pairs_are_those_of_one_variant():
    once, again = compare_pairs(repeated(1)), compare_pairs(repeated(7))
    assert again.models["kd"].difference.paired == once.models["kd"].difference.paired
    assert once.models["kd"].difference.paired.p > 0
    assert (again.pairs, again.firsts, again.varied) == (200, ["lfw"], True)


def test_each_variant_has_a_test_of_its_own_and_sets_are_added_up():
    other = {"alone": distances(0.5, 3), "kd": distances(1.5, 4)}
    found = compare_pairs(
        {
            "lfw": Pairs(SAME, SETS, "lfw"),
            "lfw, gray": Pairs(SAME, other, "lfw"),
            "cfp": Pairs(SAME, other, "cfp"),
        }
    )
    kd, alone = found.models["kd"], found.models["alone"]
    for name, one in kd.differences.items():
        assert one.paired == paired(kd.verified[name].right, alone.verified[name].right)
    assert found.firsts == ["lfw", "cfp"]
    assert kd.difference.paired == kd.differences["lfw"].paired + kd.differences["cfp"].paired
    assert kd.difference.gain == pytest.approx(np.mean([one.gain for one in kd.differences.values()]))
    assert (alone.differences, alone.difference) == ({}, None)


def test_the_words_say_which_variant_p_is_of():
    found = compare_pairs(repeated(3))
    (said,) = ModelComparison(found, COSTS).sentences()
    assert said.startswith("kd against alone, the same 200 pairs, mean over 3 variants: +")
    assert " pairs of 'lfw', not added over variants, p = " in said
    assert "p, first variant" in ModelComparison(found, COSTS).rows()[1]
    rows = ModelComparison(found, COSTS).difference_rows()
    assert [(row["set"], row["model"]) for row in rows] == [(name, "kd") for name in found.sets]
    assert {row["p"] for row in rows} == {ModelComparison(found, COSTS).rows()[1]["p, first variant"]}
    facts = ModelComparison(found, COSTS).facts()
    assert (facts["pairs"], facts["p_is_of"]) == (200, ["lfw"])
    assert any("they share their resamples" in line and line.endswith("'lfw'.") for line in facts["methods"])
    assert ModelComparison(compare_pairs(repeated(1)), COSTS).difference_rows() == []


def test_all_files_tell_the_same(tmp_path):
    """From a .bin on: 40 pairs in two variants are 40 pairs, on the page, in Markdown and in JSON."""
    for name in ("alone", "kd"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name, 8)
        (tmp_path / name / "run.json").write_text(json.dumps({"config": {"network": "tiny"}}))
    write_set(tmp_path / "dev.bin", 40, seed=3, same=[True, True, False, False] * 10)
    execution = Execution(torch.device("cpu"), 16)
    sets = varied_sets([tmp_path / "dev.bin"], parse_variants(("plain", "lowres:28")))
    entries = [run_entry(name, tmp_path / name) for name in ("alone", "kd")]
    write_outcome(tmp_path, compare_models(entries, sets, get_model, execution, seconds=0), "Models")
    for name in (PAGE, TEXT):
        text = (tmp_path / name).read_text().replace("&#39;", "'")
        assert "kd against alone, the same 40 pairs, mean over 2 variants: +0.00 points" in text
        assert "is of the first variant of each: 'dev'." in text
    assert "Differences by variant" in (tmp_path / PAGE).read_text()
    facts = json.loads((tmp_path / NUMBERS).read_text())
    assert (facts["pairs"], facts["p_is_of"]) == (40, ["dev"])
    kd = facts["models"]["kd"]
    assert [one["against_baseline"]["p_mcnemar_exact"] for one in kd["sets"].values()] == [1, 1]
    assert [one["against_baseline"] for one in facts["models"]["alone"]["sets"].values()] == [None, None]
