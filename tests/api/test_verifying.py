"""`cakd.verify`: a similarity, and a verdict where a threshold is given, with its origin."""

import numpy as np
import pytest

import insightface_cakd as cakd
from insightface_cakd.errors import EvaluationError
from tests.data.record_files import picture
from tests.evaluate.verification_files import write_set
from tests.networks.onnx_models import channel_means


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return cakd.load(channel_means(tmp_path_factory.mktemp("model") / "means.onnx"), device="cpu")


def test_embeddings_are_compared_by_their_cosine():
    """cos 60 degrees is 1/2, whatever the lengths."""
    verdict = cakd.verify(np.array([2.0, 0.0]), np.array([[0.5, 0.75**0.5]]) * 7)
    assert verdict.similarity == pytest.approx(0.5)
    assert (verdict.same, verdict.threshold, verdict.words) == (None, None, "no verdict")
    assert "no threshold was given" in str(verdict)


def test_faces_are_compared_by_the_model(model, tmp_path):
    first, second = picture(1), picture(2)
    rows = [(face.astype(float) - 127.5).mean(axis=(0, 1)) for face in (first, second)]
    expected = rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])
    assert cakd.verify(first, second, model).similarity == pytest.approx(expected, abs=1e-4)
    assert cakd.verify(first, second, model.entry.path).similarity == pytest.approx(expected, abs=1e-4)
    assert cakd.verify(first, model.embed(second), model).similarity == pytest.approx(expected, abs=1e-4)
    assert cakd.verify(first, first, model).similarity == pytest.approx(1)


@pytest.mark.parametrize(("limit", "same"), [(0.59, True), (0.6, False), (0.61, False)])
def test_a_verdict_needs_more_than_the_threshold(limit, same):
    verdict = cakd.verify(np.array([1.0, 0.0]), np.array([0.6, 0.8]), threshold=limit)
    assert verdict.same is same
    assert str(verdict).endswith(f"(threshold {limit:.4f}: given by hand)")
    assert verdict.facts() == {
        "similarity": pytest.approx(0.6),
        "threshold": limit,
        "threshold_from": "given by hand",
        "same": same,
    }


def test_a_threshold_is_measured_on_a_set_and_says_so(model, tmp_path):
    path = write_set(tmp_path / "dev.bin", pairs=40)
    limit = model.threshold(path)
    verdict = cakd.verify(picture(1), picture(1), model, path)
    assert verdict.threshold == limit
    assert verdict.same
    assert "best on dev.bin" in str(verdict)
    assert cakd.verify(picture(1), picture(1), model, limit) == verdict


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((picture(1), picture(2)), r"^verify: no model to embed images; expected one\. Pass model"),
        ((np.ones(3), np.ones(3), None, "dev.bin"), r"^verify: no model to measure a threshold on dev\.bin"),
        ((np.ones(3), np.ones(4)), r"^verify: embeddings \(3,\) and \(4,\); expected two of one length"),
        ((np.ones((2, 3)), np.ones(3)), r"^verify: embeddings \(2, 3\) and \(3,\)"),
        ((np.zeros(3), np.ones(3)), r"^verify: an embedding is zero or not finite"),
        ((np.ones(3), np.ones(3), None, 1.5), r"^threshold 1\.5: is no cosine; expected a number from -1 to 1"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(arguments, message):
    with pytest.raises(EvaluationError, match=message) as caught:
        cakd.verify(*arguments)
    assert "\n" not in str(caught.value)
