"""A threshold measured on a set: of the most accurate one and of a FAR, by hand in NumPy."""

import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.verdict import Threshold, compare_embeddings, threshold_on
from tests.evaluate.verification_files import pooled, run_on_cpu, write_set


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set") / "dev.bin", pairs=60)


def cosines(path):
    """Return the cosines of the pairs by a model that averages fields of 28 x 28 pixels, and which are the same."""
    pairs = load_bin(path)
    rows = pairs.images.reshape(-1, 4, 28, 4, 28, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(-1, 48) - 127.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows[::2] * rows[1::2]).sum(axis=1), pairs.same


def test_the_most_accurate_one_is_the_mean_of_those_that_are_best_on_nine_tenths(path):
    """Squared distances 0, 0.01, ... 3.99 are tried; of equally good ones the first counts."""
    found, same = cosines(path)
    tried = [1 - step / 200 for step in range(400)]
    limits, right = [], 0
    for fold in np.array_split(np.arange(60), 10):
        others = np.setdiff1d(np.arange(60), fold)
        best = max(tried, key=lambda limit: ((found[others] > limit) == same[others]).sum())
        limits.append(best)
        right += int(((found[fold] > best) == same[fold]).sum())
    limit = threshold_on(path, pooled(), run_on_cpu())
    assert limit.cosine == pytest.approx(np.mean(limits))
    assert limit.origin.startswith(f"best on dev.bin, where {100 * right / 60:.2f} % of 60 pairs are judged right")


@pytest.mark.parametrize(("far", "allowed"), [(0.04, 1), (0.1, 3), (0.5, 15)])
def test_a_far_lets_in_so_many_of_the_different_pairs_and_no_more(far, allowed, path):
    found, same = cosines(path)
    limit = threshold_on(path, pooled(), run_on_cpu(), far)
    # The limit is the next different pair's own cosine, which a verdict must exceed.
    assert limit.cosine == pytest.approx(np.sort(found[~same])[::-1][allowed], abs=1e-5)
    assert (found[~same] > limit.cosine + 1e-5).sum() == allowed
    accepted = 100 * (found[same] > limit.cosine).mean()
    assert limit.origin == (
        f"accepts at most {far:g} of the 30 different pairs of dev.bin, and {accepted:.2f} % of the same"
    )


@pytest.mark.parametrize("far", [0.0, 0.03, 1.0])
def test_a_share_that_the_set_does_not_support_is_refused(far, path):
    with pytest.raises(
        EvaluationError, match=r"^dev\.bin: 30 different pairs, and a share of .*; expected at least 0\.033"
    ):
        threshold_on(path, pooled(), run_on_cpu(), far)


def test_the_mirror_image_has_no_part(path):
    """A model that sees the left half alone: added mirror images would change its threshold."""

    def left(images):
        return pooled()(images * torch.linspace(1, 0, 112).round())

    with_mirror = threshold_on(path, lambda images: left(images) + left(images.flip(-1)), run_on_cpu(), 0.1)
    assert threshold_on(path, left, run_on_cpu(), 0.1) != with_mirror


def test_a_set_that_cannot_be_judged_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="expected both kinds and at least 10 pairs"):
        threshold_on(write_set(tmp_path / "few.bin", pairs=8), pooled(), run_on_cpu())


def test_rounding_takes_no_similarity_beyond_one():
    row = np.random.default_rng(0).normal(size=512)
    assert compare_embeddings(row, row, Threshold(1.0)).same is False
    assert compare_embeddings(row, -3 * row).similarity == -1
