"""Verification gives arcface_torch's own numbers."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.evaluate.pairs.verification import verify
from tests.evaluate.protocol import random_pairs

pytestmark = pytest.mark.upstream


@pytest.fixture
def upstream(arcface_torch, monkeypatch) -> ModuleType:
    """arcface_torch's eval/verification.py; it imports mxnet, which these parts of it never use."""
    mxnet, ndarray = ModuleType("mxnet"), ModuleType("mxnet.ndarray")
    mxnet.ndarray = ndarray
    monkeypatch.setitem(sys.modules, "mxnet", mxnet)
    monkeypatch.setitem(sys.modules, "mxnet.ndarray", ndarray)
    spec = importlib.util.spec_from_file_location("upstream_verification", arcface_torch / "eval" / "verification.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Its interpolation fails on current SciPy, and `test` throws the result away.
    monkeypatch.setattr(module, "calculate_val", lambda *_, **__: (0.0, 0.0, 0.0))
    return module


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(), nn.Flatten(), nn.Linear(8 * 36, 16)).eval()


@pytest.mark.parametrize("pairs", [10, 63, 200])
def test_accuracy_deviation_and_norm_are_upstreams(upstream, pairs):
    faces, backbone = random_pairs(pairs, seed=pairs), network()
    plain = torch.from_numpy(faces.images).permute(0, 3, 1, 2).float()
    _, _, accuracy, std, xnorm, embeddings = upstream.test(
        ([plain, plain.flip(-1)], faces.same.tolist()), backbone, batch_size=10
    )
    result = verify(backbone, faces, batch_size=17)
    assert result.accuracy == accuracy
    assert result.std == pytest.approx(std, abs=1e-15)
    assert result.xnorm == pytest.approx(xnorm, rel=1e-6)
    assert len(embeddings[0]) == 2 * pairs


def test_accuracies_and_thresholds_are_upstreams_for_embeddings_of_any_accuracy(upstream, monkeypatch):
    asked = []
    count = upstream.calculate_accuracy
    monkeypatch.setattr(upstream, "calculate_accuracy", lambda *given: asked.append(given[0]) or count(*given))
    generator = np.random.default_rng(5)
    for noise in (0.3, 1.0, 3.0):
        first = generator.normal(size=(105, 8))
        same = np.arange(105) % 2 == 0
        second = np.where(same[:, None], first + noise * generator.normal(size=first.shape), -first[::-1])
        images = np.zeros((210, 8, 8, 3), np.uint8)
        rows = np.stack([first, second], axis=1).reshape(210, 8).astype(np.float32)
        units = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows[0::2], rows[1::2])]
        asked.clear()
        _, _, accuracies = upstream.calculate_roc(np.arange(0, 4, 0.01), *[u.astype(np.float64) for u in units], same)
        # the two views of a batch are asked one after the other
        views = iter([torch.from_numpy(rows), torch.from_numpy(rows)])
        result = verify(lambda _, views=views: next(views), VerificationSet(images, same), batch_size=210)
        assert result.accuracy == np.mean(accuracies)
        # A fold tries 400 thresholds on the other folds and 400 on its own pairs, then judges these with the best.
        assert len(asked) == 10 * 801
        assert result.thresholds.mean() == np.mean(asked[800::801])
