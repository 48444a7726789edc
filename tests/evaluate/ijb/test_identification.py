"""Searches equal the plain reference."""

import numpy as np
import pytest

from insightface_cakd.evaluate.ijb import identification as module
from insightface_cakd.evaluate.ijb.gallery import Enrolment, Search
from insightface_cakd.evaluate.ijb.identification import FPIRS, identify
from insightface_cakd.evaluate.ijb.templates import Templates, unit_rows
from tests.evaluate.ijb import plain


def draw(seed: int, subjects: int = 24, probes: int = 70):
    random = np.random.default_rng(seed)
    centres = random.standard_normal((subjects, 8))
    who = np.r_[np.arange(subjects), random.integers(0, subjects, probes)]
    features = unit_rows(centres[who] + random.standard_normal((len(who), 8)))
    ids = np.sort(random.choice(10_000, len(who), replace=False))
    mixed = random.permutation(subjects)
    halves = np.sort(mixed[: subjects // 2]), np.sort(mixed[subjects // 2 :])
    galleries = tuple(Enrolment(ids[half], 7 * half) for half in halves)
    return Templates(ids, features), Search(galleries, Enrolment(ids[subjects:], 7 * who[subjects:]))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_ranks_and_tpir_equal_the_plain_reference(seed, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    templates, search = draw(seed)
    features = dict(zip(templates.ids.tolist(), templates.features.tolist(), strict=True))
    found = identify(templates, search)
    probes = dict(zip(search.probes.templates.tolist(), search.probes.subjects.tolist(), strict=True))
    for gallery, result in zip(search.galleries, found.galleries, strict=True):
        enrolled = dict(zip(gallery.templates.tolist(), gallery.subjects.tolist(), strict=True))
        expected = plain.identification(features, enrolled, probes, FPIRS)
        assert result.ranked == expected["ranks"]
        assert result.mated == expected["mated"]
        assert [result.tpir(fpir) for fpir in FPIRS] == pytest.approx(expected["tpirs"])
    assert found.mean_rank(1) == sum(result.ranked[1] for result in found.galleries) / 70


def test_galleries_may_be_another_model_s():
    templates, search = draw(3)
    other = Templates(templates.ids, unit_rows(templates.features + 0.3 * np.roll(templates.features, 1, axis=1)))
    enrolled = np.isin(templates.ids, np.concatenate([gallery.templates for gallery in search.galleries]))
    mixed = Templates(templates.ids, np.where(enrolled[:, None], other.features, templates.features))
    found, expected = identify(templates, search, other), identify(mixed, search)
    for one, same in zip(found.galleries, expected.galleries, strict=True):
        assert one.ranked == same.ranked
        assert np.array_equal(one.correct, same.correct)
        assert np.array_equal(one.strangers, same.strangers)


def test_the_strict_reading_gives_no_number_without_enough_strangers():
    templates, search = draw(0)
    result = identify(templates, search).galleries[0]
    strangers = len(result.strangers)
    assert result.tpir_strict(0.5 / strangers) is None
    assert result.tpir(0.5 / strangers) is not None
    assert result.tpir_strict(1 / strangers) >= result.tpir(1 / strangers)
    for fpir in (1 / strangers, 0.1, 0.5, 1.0):
        share = result.tpir_strict(fpir)
        best = max(
            (result.correct > threshold).sum() / result.mated
            for threshold in (*result.strangers, -2.0)
            if (result.strangers > threshold).sum() <= strangers * fpir + 1e-9
        )
        assert share == pytest.approx(best)


def test_without_strangers_there_is_no_tpir_but_there_are_ranks():
    templates, search = draw(1)
    first = search.galleries[0]
    inside = np.isin(search.probes.subjects, first.subjects)
    probes = Enrolment(search.probes.templates[inside], search.probes.subjects[inside])
    found = identify(templates, Search((first, search.galleries[1]), probes))
    assert found.galleries[0].tpir(0.1) is None
    assert found.galleries[0].threshold(0.1) is None
    assert found.galleries[0].rank(1) is not None
    assert found.galleries[1].rank(1) is None
    assert found.mean_tpir(0.1) is None
