"""Models on the same pairs: differences, their intervals and tests, the curves, and what cannot be compared."""

import json
import re

import numpy as np
import pytest

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.compare.comparison import Cost, Pairs, compare_pairs
from insightface_cakd.evaluate.compare.pictures import cost_figure, drawings, roc_curve
from insightface_cakd.evaluate.compare.tables import ModelComparison
from insightface_cakd.evaluate.pairs.bootstrap import Resamples, interval_of
from insightface_cakd.evaluate.pairs.verification import judge
from insightface_cakd.networks.latency import Latency, measure_latency
from insightface_cakd.report.colours import PALETTE, Colours
from insightface_cakd.report.plots import drawn
from tests.evaluate.protocol import slow_tar

SAME = np.arange(200) % 2 == 0


def distances(gap, seed=0, same=SAME):
    noise = np.random.default_rng(seed).normal(0, 0.5, len(same))
    return np.clip(np.where(same, 2 - gap / 2, 2 + gap / 2) + noise, 0, 4)


@pytest.fixture(scope="module")
def found():
    return compare_pairs(
        {
            "lfw": Pairs(SAME, {"alone": distances(0.6), "kd": distances(1.0), "teacher": distances(2.0, 1)}),
            "cfp": Pairs(SAME[:50], {name: distances(1.0, 5, SAME[:50]) for name in ("alone", "kd", "teacher")}),
        }
    )


@pytest.fixture(scope="module")
def costs():
    return {name: Cost("torch", 1.5, 2_000_000, Latency(3.0, 2.5, 4.0, 9)) for name in ("alone", "kd", "teacher")}


def test_gains_are_differences_of_accuracies_and_the_baseline_has_none(found):
    alone, kd = found.models["alone"], found.models["kd"]
    assert found.baseline == "alone"
    assert alone.difference is None
    gains = [kd.verified[name].accuracy - alone.verified[name].accuracy for name in ("lfw", "cfp")]
    assert gains[1] == 0
    assert kd.difference.gain == pytest.approx(np.mean(gains))
    assert kd.difference.interval.low < kd.difference.gain < kd.difference.interval.high
    assert kd.accuracy == pytest.approx(np.mean([verified.accuracy for verified in kd.verified.values()]))


def test_the_paired_test_counts_pairs_one_by_one(found):
    alone, kd = found.models["alone"], found.models["kd"]
    counts = [0, 0]
    for name in ("lfw", "cfp"):
        for mine, theirs in zip(kd.verified[name].right, alone.verified[name].right, strict=True):
            counts[0] += mine and not theirs
            counts[1] += theirs and not mine
    assert (kd.difference.paired.first_only, kd.difference.paired.second_only) == tuple(counts)


def test_differences_are_resampled_in_pairs():
    """The interval is that of resampled differences of the same pairs, narrower than that of two apart."""
    one, other = distances(0.8), distances(0.9)
    found = compare_pairs({"lfw": Pairs(SAME, {"a": one, "b": other})})
    first, second = judge(one, SAME, "a"), judge(other, SAME, "b")
    differing = second.right.astype(float) - first.right
    expected = interval_of(Resamples(SAME).mean(differing, first.weights))
    interval = found.models["b"].difference.interval
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    apart = interval_of(Resamples(SAME, seed=1).mean(second.right) - Resamples(SAME, seed=2).mean(first.right))
    assert interval.high - interval.low < apart.high - apart.low


def test_equal_models_differ_by_nothing():
    found = compare_pairs({"lfw": Pairs(SAME, {"a": distances(1.0), "b": distances(1.0)})})
    difference = found.models["b"].difference
    assert (difference.gain, difference.interval.low, difference.interval.high, difference.paired.p) == (0, 0, 0, 1)


def test_another_baseline():
    sets = {"lfw": Pairs(SAME, {"a": distances(0.5), "b": distances(1.5)})}
    assert compare_pairs(sets, "b").models["a"].difference.gain == -compare_pairs(sets).models["b"].difference.gain
    with pytest.raises(EvaluationError, match=r"--baseline c: no such model; expected one of a, b\."):
        compare_pairs(sets, "c")


def test_it_can_be_repeated(found, costs):
    again = compare_pairs({name: Pairs(one.same, {m: s.verified[name].distances for m, s in found.models.items()}) for name, one in found.models["alone"].verified.items()})  # fmt: skip # noqa: E501
    assert ModelComparison(again, costs).facts() == ModelComparison(found, costs).facts()
    shown = [
        [(drawing.title, drawn(drawing, Colours(), "p")) for drawing in drawings(one, costs)] for one in (again, found)
    ]
    assert shown[0] == shown[1]


def test_no_sets_and_pairs_that_cannot_be_judged():
    with pytest.raises(EvaluationError, match="compare: no verification set; expected at least one"):
        compare_pairs({})
    with pytest.raises(EvaluationError, match="b on lfw: 1 of 200 distances are not finite"):
        compare_pairs({"lfw": Pairs(SAME, {"a": distances(1.0), "b": np.where(np.arange(200) == 7, np.nan, 1.0)})})


def test_the_words(found, costs):
    rows = ModelComparison(found, costs).rows()
    assert list(rows[0]) == ["model", "lfw", "cfp", "mean", "against alone", "p", "ms", "MB", "M weights", "runtime"]
    assert rows[0]["against alone"] == ""
    assert rows[1]["against alone"].startswith("+")
    said = ModelComparison(found, costs).sentences()
    assert len(said) == 2
    assert "kd against alone, the same 250 pairs: +" in said[0]
    assert [(row["set"], row["model"]) for row in ModelComparison(found, costs).tar_rows()][:4] == [
        ("lfw", "alone"), ("lfw", "kd"), ("lfw", "teacher"), ("cfp", "alone")
    ]  # fmt: skip
    assert ModelComparison(found, costs).tar_rows()[3]["TAR@FAR=0.01"] == "-"
    assert "exact McNemar test" in " ".join(ModelComparison(found, costs).methods())
    assert "25 impostor pairs support no FAR below 0.04" in " ".join(ModelComparison(found, costs).methods())
    facts = ModelComparison(found, costs).facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["models"]["alone"]["against_baseline"] is None


@pytest.mark.parametrize("points", [5, 300])
def test_the_curve_is_tar_at_so_many_false_accepts(points):
    values = distances(1.0)
    values[[3, 9]] = values[4]  # ties
    curve = roc_curve(judge(values, SAME, "set"), points)
    assert curve.far[0] == 0.01
    assert curve.far[-1] == 1
    assert (np.diff(curve.far) > 0).all()
    for far, tar in zip(curve.far[:-1], curve.tar[:-1], strict=True):
        assert tar == pytest.approx(slow_tar(values.tolist(), SAME, far))
    assert curve.tar[-1] == 1


def test_each_set_has_two_curves_and_each_cost_a_plot(found, costs):
    shown = list(drawings(found, costs))
    titles = [f"{name}: {kind}" for name in ("lfw", "cfp") for kind in ("ROC", "DET")]
    assert [one.title for one in shown] == [*titles, "Accuracy against time", "Accuracy against size"]
    assert "kd 7" in shown[-1].alt or "kd 8" in shown[-1].alt
    assert all(f"{name} accepts" in shown[0].alt for name in ("alone", "kd", "teacher"))


def test_a_model_has_one_colour_on_every_plot(found, costs):
    colours = Colours(["teacher"])
    for one in drawings(found, costs):
        assert {colours.of(name) for name in found.models} <= set(re.findall("#[0-9a-f]{6}", drawn(one, colours, "p")))
    assert colours.of("teacher") == PALETTE[0]
    assert colours.names == ["teacher", "alone", "kd"]


def test_too_few_pairs_give_no_curve(costs):
    few = compare_pairs({"few": Pairs(SAME[:18], {name: distances(1.0, 5, SAME[:18]) for name in costs})})
    assert [one.title for one in drawings(few, costs)] == ["Accuracy against time", "Accuracy against size"]


def test_the_verdict_says_what_may_be_chance(found, costs):
    difference = found.models["teacher"].difference
    said = ModelComparison(found, costs).verdict
    assert said.startswith("Against alone: kd ")
    assert f"teacher {100 * difference.gain:+.2f} points {difference.interval.points(signed=True)}, better." in said
    equal = compare_pairs({"lfw": Pairs(SAME, {"a": distances(1.0), "b": distances(1.0)})})
    assert ModelComparison(equal, costs).verdict == "Against a: b +0.00 points [+0.00, +0.00], may be chance."


def test_no_point_of_the_costs_is_cut(found):
    """The largest and slowest model is 5 to 10 % inside the right edge, whatever the order."""
    sizes = {"alone": 30.0, "kd": 200.0, "teacher": 0.4}
    dear = {name: Cost("torch", size, 1, Latency(size / 10, 0, size, 9)) for name, size in sizes.items()}
    times = {name: one.latency.median for name, one in dear.items()}
    for costs, largest in ((times, 20.0), (sizes, 200.0)):
        (axes,) = cost_figure(found, costs, "unit", Colours()).axes
        low, high = axes.get_xlim()
        assert low == 0
        assert 1.05 * largest <= high <= 1.1 * largest


def test_models_take_turns():
    asked = []
    times = measure_latency({name: lambda face, name=name: asked.append(name) for name in "ab"}, rounds=5)
    assert asked == ["a"] * 3 + ["b"] * 3 + ["a", "b"] * 5
    assert times["a"].rounds == 5
    assert times["a"].low <= times["a"].median <= times["a"].high
    assert measure_latency({"a": lambda face: None}, rounds=50, seconds=0)["a"].rounds == 3
