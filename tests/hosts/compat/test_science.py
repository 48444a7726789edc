"""SciPy, scikit-image, scikit-learn, menpo and ptflops as arcface_torch expects them."""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

from insightface_cakd.data.bins import load_bin
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.compat import FIXES, applied
from insightface_cakd.hosts.compat.science import INTERP1D, MENPO, PTFLOPS, SKIMAGE, SKLEARN

interpolate = pytest.importorskip("scipy.interpolate")
transform = pytest.importorskip("skimage.transform")
sklearn = pytest.importorskip("sklearn")

ARCFACE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], np.float32)


# SciPy


def test_equal_rates_are_interpolated_as_older_scipy_did():
    """From the last of the lower plateau to the first of the higher; on a plateau, its last."""
    rates, thresholds = [0.0, 0.0, 0.5, 0.5, 0.5, 1.0, 1.0], [0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 5.0]
    with pytest.raises(ValueError, match="duplicates"):
        interpolate.interp1d(rates, thresholds, kind="slinear")
    with applied([INTERP1D]):
        line = interpolate.interp1d(rates, thresholds, kind="slinear")
        # What BSpline.construct_fast([0, *rates, 1], thresholds, 1) gives below 1, the spline that SciPy made of them.
        assert [float(line(rate)) for rate in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(
            [1.0, 1.5, 3.0, 3.5, 5.0], abs=1e-9
        )


def test_the_interpolation_of_any_false_accept_rates_is_numpys():
    random = np.random.default_rng(0)
    thresholds = np.arange(0, 4, 0.01)
    with applied([INTERP1D]):
        for pairs in (3, 20, 3000):
            distances = random.uniform(0.5, 3.5, pairs)
            rates = (distances[:, None] < thresholds).mean(0)
            line = interpolate.interp1d(rates, thresholds, kind="slinear")
            for target in (*random.uniform(0, 1, 20), *rates[::40]):
                assert float(line(target)) == pytest.approx(np.interp(target, rates, thresholds), abs=1e-7)


def test_an_interpolation_without_duplicates_is_scipys_own():
    x, y = np.array([0.0, 0.3, 1.0, 2.0]), np.array([1.0, 0.0, 5.0, 2.0])
    at = np.linspace(0, 2, 13)
    expected = {kind: interpolate.interp1d(x, y, kind=kind)(at) for kind in ("slinear", "linear", "cubic")}
    original = interpolate.interp1d
    with applied([INTERP1D]):
        for kind, values in expected.items():
            assert (interpolate.interp1d(x, y, kind=kind)(at) == values).all()
        table = interpolate.interp1d(x, np.stack([y, y]), kind="slinear")
        assert isinstance(table, original)
        assert table(at).shape == (2, 13)
    assert interpolate.interp1d is original


@pytest.mark.upstream
def test_verification_gives_the_same_accuracy_with_the_interpolation_as_without(arcface_torch: Path, face_set: Path):
    checkout = find_checkout(arcface_torch)
    images = torch.from_numpy(load_bin(face_set / "dev.bin").images.transpose(0, 3, 1, 2).copy()).float()
    same = load_bin(face_set / "dev.bin").same.tolist()
    net = nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
    with checkout.imported(), applied(FIXES) as chosen:
        assert INTERP1D in chosen
        verification = checkout.load("eval.verification")
        _, _, accuracy, std, norm, _ = verification.test(([images, images.flip(3)], same), net, 10, 4)
    with checkout.imported(), applied(FIXES, unwanted=["interp1d-duplicates"]):
        verification = checkout.load("eval.verification")
        with pytest.raises(ValueError, match="duplicates"):
            verification.test(([images, images.flip(3)], same), net, 10, 4)
        verification.calculate_val = lambda *_, **__: (0, 0, 0)
        without = verification.test(([images, images.flip(3)], same), net, 10, 4)
    assert (accuracy, std, norm) == without[2:5]


# scikit-image


@pytest.mark.parametrize("name", ["SimilarityTransform", "AffineTransform"])
def test_estimate_fits_as_before_without_a_warning(name: str):
    points = ARCFACE @ np.array([[1.1, 0.2], [-0.2, 1.1]]) + [5, -3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(transform, name)()
        expected.estimate(points, ARCFACE)
    with applied([SKIMAGE]), warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = getattr(transform, name)()
        assert fitted.estimate(points, ARCFACE) is True
    assert (fitted.params == expected.params).all()
    assert np.abs(fitted(points) - ARCFACE).max() < 1e-4


def test_estimate_of_one_point_five_times_fails_as_before():
    with applied([SKIMAGE]):
        fitted = transform.SimilarityTransform()
        assert fitted.estimate(np.zeros((5, 2)), ARCFACE) is False
    assert np.isnan(fitted.params).all()


def test_estimate_comes_back_where_scikit_image_has_dropped_it(monkeypatch):
    for owner in transform.SimilarityTransform.__mro__:
        if "estimate" in vars(owner):
            monkeypatch.delattr(owner, "estimate")
    assert not hasattr(transform.SimilarityTransform, "estimate")
    with applied([SKIMAGE]):
        assert transform.SimilarityTransform().estimate(ARCFACE, ARCFACE)
    assert not hasattr(transform.SimilarityTransform, "estimate")


# scikit-learn


def test_preprocessing_is_there_where_scikit_learn_does_not_look_for_it(monkeypatch):
    assert SKLEARN.applies() is None
    monkeypatch.delattr(sklearn, "__getattr__")
    monkeypatch.delattr(sklearn, "preprocessing", raising=False)
    for name in [name for name in sys.modules if name.startswith("sklearn.preprocessing")]:
        monkeypatch.delitem(sys.modules, name)
    with applied([SKLEARN]) as chosen:
        assert chosen == [SKLEARN]
        assert np.linalg.norm(sklearn.preprocessing.normalize([[3.0, 4.0]])) == 1


# Packages for one call


def test_colours_are_those_of_the_map():
    if importlib.util.find_spec("menpo"):
        pytest.skip("menpo is installed: its own colours are used")
    with applied([MENPO]):
        sample = importlib.import_module("menpo.visualize.viewmatplotlib").sample_colours_from_colourmap
        colours = sample(2, "Set2")
    assert np.allclose(colours, [matplotlib.colormaps["Set2"].colors[0], matplotlib.colormaps["Set2"].colors[4]])
    assert importlib.util.find_spec("menpo") is None


def test_multiply_adds_are_those_counted_by_hand(capsys):
    if importlib.util.find_spec("ptflops"):
        pytest.skip("ptflops is installed: its own numbers are used")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    with applied([PTFLOPS]):
        count = importlib.import_module("ptflops").get_model_complexity_info
        macs, parameters = count(net, (3, 8, 8), as_strings=False, print_per_layer_stat=True, verbose=True)
        assert count(net, (3, 8, 8), print_per_layer_stat=False) == ("0.00 GMac", "0.00 M")
    assert macs == 6 * 6 * 4 * 3 * 9 + 144 * 5
    assert parameters == (4 * 27 + 4) + 8 + (144 * 5 + 5)
    assert net.training
    assert "convolutions and matrix products only" in capsys.readouterr().out


@pytest.mark.parametrize(("fix", "name"), [(MENPO, "menpo"), (PTFLOPS, "ptflops")])
def test_an_installed_package_is_left_alone(fix, name: str, tmp_path: Path, monkeypatch):
    (tmp_path / f"{name}.py").write_text("REAL = True")
    monkeypatch.syspath_prepend(tmp_path)
    with applied([fix]) as chosen:
        assert chosen == []
        assert importlib.import_module(name).REAL
    del sys.modules[name]
