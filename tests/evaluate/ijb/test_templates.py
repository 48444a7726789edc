"""Templates equal the plain reference, in every mode, and do not depend on chunks or threads."""

import numpy as np
import pytest

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.presets import ALL_MODES, PRESETS
from insightface_cakd.evaluate.ijb.store import Embeddings
from insightface_cakd.evaluate.ijb.templates import Weighting, pool_templates
from tests.evaluate.ijb import plain


def draw(seed=0, images=150, templates=23, width=6):
    random = np.random.default_rng(seed)
    ids = random.permutation(1000)[:templates]
    place = np.r_[np.arange(templates), random.integers(0, templates, images - templates)]
    random.shuffle(place)
    rows = random.normal(0, 3, (2, images, width)).astype(np.float32)
    scores = random.uniform(0.3, 1, images).astype(np.float32)
    return Embeddings(rows[0], rows[1], {}), scores, ids[place], random.integers(0, 4, images)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("letters", ALL_MODES)
def test_every_mode_of_every_preset_equals_the_plain_reference(preset, letters):
    embeddings, scores, ids, medias = draw()
    mode = PRESETS[preset].mode(letters)
    n1_normalises = {"eval_ijbc": False, "onnx_ijbc": False, "ijb_evals": True}[preset]
    normalised = (letters[1] == "1") == n1_normalises
    rows = plain.weighted(
        embeddings.plain, embeddings.mirrored, scores, normalised, letters[3] == "1", letters[5] == "1"
    )
    expected = plain.templates(rows, ids, medias)
    found = pool_templates(Weighting(embeddings, scores, mode, PRESETS[preset]), ids, medias)
    assert found.ids.tolist() == sorted(expected)
    assert found.features.dtype == np.float64
    difference = np.abs(found.features - np.array([expected[one] for one in found.ids])).max()
    assert difference < (1e-13 if preset == "onnx_ijbc" else 1e-6)


@pytest.mark.parametrize("preset", PRESETS)
def test_chunks_and_threads_do_not_change_a_bit(preset):
    embeddings, scores, ids, medias = draw(images=400)
    chosen = PRESETS[preset]
    weighting = Weighting(embeddings, scores, chosen.mode(chosen.default_mode), chosen)
    whole = pool_templates(weighting, ids, medias, workers=1).features
    for chunk in (1, 7, 64):
        assert np.array_equal(pool_templates(weighting, ids, medias, workers=4, chunk=chunk).features, whole)


def test_corrupt_images_are_left_out():
    embeddings, scores, ids, medias = draw()
    row = next(row for row, one in enumerate(ids) if (ids == one).sum() > 1)
    embeddings.plain[row] = embeddings.mirrored[row] = np.nan
    preset = PRESETS["onnx_ijbc"]
    mode = preset.mode("N1D1F1")
    kept = np.delete(np.arange(len(ids)), row)
    with pytest.raises(EvaluationError, match=r"1 of 23 templates have a NaN or infinite embedding \(first: template"):
        pool_templates(Weighting(embeddings, scores, mode, preset), ids, medias)
    marked = Embeddings(embeddings.plain, embeddings.mirrored, {row: "truncated"})
    found = pool_templates(Weighting(marked, scores, mode, preset), ids, medias)
    fewer = Embeddings(embeddings.plain[kept], embeddings.mirrored[kept], {})
    expected = pool_templates(Weighting(fewer, scores[kept], mode, preset), ids[kept], medias[kept])
    assert np.array_equal(found.features, expected.features)


def test_a_template_that_lost_all_its_images_is_named():
    embeddings, scores, ids, medias = draw()
    preset = PRESETS["eval_ijbc"]
    corrupt = {int(row): "no image" for row in np.flatnonzero(ids == ids[0])}
    weighting = Weighting(Embeddings(embeddings.plain, None, corrupt), scores, preset.mode("N1D1F0"), preset)
    with pytest.raises(EvaluationError, match=rf"templates: 1 have no image left \({ids[0]}\)"):
        pool_templates(weighting, ids, medias)


def test_f1_needs_mirror_images():
    embeddings, scores, ids, medias = draw()
    preset = PRESETS["eval_ijbc"]
    weighting = Weighting(Embeddings(embeddings.plain, None, {}), scores, preset.mode("N1D1F1"), preset)
    with pytest.raises(EvaluationError, match="mode N1D1F1: the saved embeddings have none of mirror images"):
        pool_templates(weighting, ids, medias)


def test_embeddings_of_length_zero_stay_zero():
    embeddings, scores, ids, medias = draw()
    embeddings.plain[:], embeddings.mirrored[:] = 0, 0
    for preset in PRESETS.values():
        weighting = Weighting(embeddings, scores, preset.mode("N0D0F1"), preset)
        assert not pool_templates(weighting, ids, medias).features.any()
