"""Variants of a set: which images change, that nothing is drawn by chance, and names that are none."""

import numpy as np
import pytest

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.variants import ALL, parse_variants, vary


@pytest.fixture(scope="module")
def faces():
    images = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3)).astype(np.uint8)
    return VerificationSet(images, np.array([True, False]))


@pytest.mark.parametrize("name", ALL)
def test_the_enrolled_image_stays_and_the_set_itself_too(name, faces):
    (variant,) = parse_variants([name])
    before = faces.images.copy()
    probe, both = vary(faces, variant), vary(faces, variant, on="both")
    assert np.array_equal(faces.images, before)
    assert np.array_equal(probe.images[0::2], before[0::2])
    assert np.array_equal(probe.images[1::2], both.images[1::2])
    changed = name not in ("plain", "single")
    assert np.array_equal(both.images[0], before[0]) != changed
    assert np.array_equal(vary(faces, variant).images, probe.images), "nothing is drawn"
    assert probe.same is faces.same
    assert variant.mirrored == (name not in ("single", "flipped"))


def test_names():
    assert [variant.name for variant in parse_variants(())] == ["plain"]
    assert tuple(variant.name for variant in parse_variants(["all"])) == ALL
    assert [variant.name for variant in parse_variants(["masked", "all", "lowres:7"])][:2] == ["masked", "plain"]
    assert len(parse_variants(["masked", "masked"])) == 1


@pytest.mark.parametrize("name", ["maskd", "lowres", "lowres:0", "lowres:112", "lowres:1x", "", "lowres:-3"])
def test_names_that_are_none(name):
    with pytest.raises(EvaluationError, match=rf"--variant {name}: unknown; expected all or one of plain, masked"):
        parse_variants([name])
