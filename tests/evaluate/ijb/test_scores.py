"""Scores are dot products, whether they are looked up or computed alone, and whatever pairs are asked for."""

import numpy as np
import pytest

from insightface_cakd.evaluate.ijb import scores as module
from insightface_cakd.evaluate.ijb.lists import Pairs
from insightface_cakd.evaluate.ijb.scores import score_pairs
from insightface_cakd.evaluate.ijb.templates import Templates, unit_rows


def draw(kind: str, templates: int = 90, pairs: int = 2000):
    random = np.random.default_rng(3)
    ids = np.sort(random.choice(5000, templates, replace=False))
    features = unit_rows(random.standard_normal((templates, 16)))
    third = templates // 3
    first = random.integers(0, third if kind == "apart" else templates, pairs)
    second = random.integers(third if kind == "apart" else 0, templates, pairs)
    if kind == "few":
        first, second = first[:9], second[:9]
    pairs_ = Pairs(ids[first].astype(np.int32), ids[second].astype(np.int32), first == second)
    return (
        Templates(ids, features),
        pairs_,
        np.array([features[a] @ features[b] for a, b in zip(first, second, strict=True)]),
    )


WAYS = pytest.mark.parametrize("dense", [0, 10_000], ids=["by strips", "looked up"])


@pytest.mark.parametrize("kind", ["among", "apart", "few"])
@pytest.mark.parametrize("size", [1, 4, 32, 1024])
@WAYS
def test_scores_are_dot_products(monkeypatch, kind, size, dense):
    templates, pairs, expected = draw(kind)
    for name, value in (("DENSE", dense), ("STRIP", size), ("CHUNK", size)):
        monkeypatch.setattr(module, name, value)
    assert np.abs(score_pairs(templates, pairs) - expected).max() < 1e-14


def test_products_are_looked_up_where_pairs_are_dense(monkeypatch):
    templates, pairs, expected = draw("among")  # 2000 of 8100
    for dense, unused in ((4, "look_up"), (5, "score_by_strips")):
        with monkeypatch.context() as patch:
            patch.setattr(module, unused, None)
            patch.setattr(module, "DENSE", dense)
            assert np.abs(score_pairs(templates, pairs) - expected).max() < 1e-14


@pytest.mark.parametrize("held", [1, 90, 700, 8100])
def test_products_need_not_fit_in_memory_at_once(monkeypatch, held):
    """Strips of 1, 1, 7 and 90 of the 90 second templates: the last one is narrower, and each thread has several."""
    templates, pairs, expected = draw("among")
    monkeypatch.setattr(module, "HELD", held)
    monkeypatch.setattr(module, "score_by_strips", None)
    for workers in (1, 3):
        assert np.abs(score_pairs(templates, pairs, workers) - expected).max() < 1e-14


@WAYS
def test_both_orders_of_two_templates_score_alike(monkeypatch, dense):
    monkeypatch.setattr(module, "DENSE", dense)
    templates, pairs, _ = draw("among")
    twice = Pairs(np.r_[pairs.first, pairs.second], np.r_[pairs.second, pairs.first], np.r_[pairs.same, pairs.same])
    one, other = np.split(score_pairs(templates, twice), 2)
    assert np.abs(one - other).max() < 1e-15


@WAYS
def test_ids_may_be_large_and_progress_reaches_the_end(monkeypatch, dense):
    monkeypatch.setattr(module, "DENSE", dense)
    templates, pairs, expected = draw("among")
    far = 900_000_000
    seen = []
    found = score_pairs(
        Templates(templates.ids + far, templates.features),
        Pairs(pairs.first + far, pairs.second + far, pairs.same),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert np.abs(found - expected).max() < 1e-14
    assert seen[-1] == (2000, 2000)


@WAYS
def test_the_first_template_of_a_pair_may_be_another_model_s(monkeypatch, dense):
    monkeypatch.setattr(module, "DENSE", dense)
    templates, pairs, _ = draw("among")
    enrolled = Templates(templates.ids, unit_rows(np.random.default_rng(9).standard_normal(templates.features.shape)))
    first, second = (np.searchsorted(templates.ids, ids) for ids in (pairs.first, pairs.second))
    expected = [enrolled.features[a] @ templates.features[b] for a, b in zip(first, second, strict=True)]
    assert np.abs(score_pairs(templates, pairs, enrolled=enrolled) - expected).max() < 1e-14
