"""SciPy, scikit-image, scikit-learn, menpo and ptflops."""

import functools
import importlib
import importlib.util
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

import numpy as np

from insightface_cakd.hosts.compat.fix import Fix, replace
from insightface_cakd.hosts.compat.stand_ins import stand_in

TRANSFORMS = ("EuclideanTransform", "SimilarityTransform", "AffineTransform", "ProjectiveTransform")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _duplicates_stop() -> str | None:
    if not _installed("scipy"):
        return None
    from scipy import interpolate

    try:
        interpolate.interp1d([0.0, 0.0, 1.0], [0.0, 1.0, 2.0], kind="slinear")
    except ValueError:
        return f"SciPy {version('scipy')}: interp1d takes no x with duplicates"
    return None


def _allow_duplicates(stack: ExitStack) -> None:
    """Let `kind="slinear"` take equal x as SciPy did before: a plateau ends with its last y, and is reached at its first."""
    from scipy import interpolate

    original = interpolate.interp1d

    @functools.wraps(original, updated=())
    class interp1d(original):  # type: ignore[misc,valid-type]  # noqa: N801
        def __init__(self, x: Any, y: Any, kind: Any = "linear", *args: Any, **kwargs: Any) -> None:
            rates, values = np.asarray(x), np.asarray(y)
            if kind == "slinear" and rates.ndim == values.ndim == 1 and len(rates) == len(values):
                order = np.argsort(rates, kind="stable")
                rates, values = without_duplicates(rates[order], values[order])
            super().__init__(rates, values, kind, *args, **kwargs)

    replace(stack, interpolate, "interp1d", interp1d)


def without_duplicates(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same line without equal x.

    Of a plateau the last y stays at its x, and the first y one rounding step below, so that lines from the left end there.

    Args:
        x: (N,), ascending, with plateaus.
        y: (N,).
    """
    steps = x[1:] != x[:-1]
    first, last = np.append(False, steps), np.append(steps, True)  # nothing leads to the first of the lowest plateau
    below = np.nextafter(x.astype(np.float64), -np.inf)
    keep = first | last
    return np.where(first & ~last, below, x)[keep], y[keep]


def _estimate_is_old() -> str | None:
    if not _installed("skimage"):
        return None
    from skimage.transform import SimilarityTransform

    new = hasattr(SimilarityTransform, "from_estimate")
    return f"scikit-image {version('scikit-image')}: estimate is deprecated or gone" if new else None


def _keep_estimate(stack: ExitStack) -> None:
    from skimage import transform

    for name in TRANSFORMS:
        replace(stack, getattr(transform, name), "estimate", _estimate)


def _estimate(self: Any, src: np.ndarray, dst: np.ndarray) -> bool:
    """Fit the transform; where that fails, its matrix is NaN, as before."""
    found = type(self).from_estimate(src, dst)
    self.params = found.params if found else np.full_like(self.params, np.nan)
    return bool(found)


def _preprocessing_is_not_imported() -> str | None:
    if not _installed("sklearn"):
        return None
    import sklearn

    finds_it = "__getattr__" in vars(sklearn) or "preprocessing" in vars(sklearn)
    return None if finds_it else f"scikit-learn {version('scikit-learn')} does not import its parts by itself"


def _import_preprocessing(_: ExitStack) -> None:
    importlib.import_module("sklearn.preprocessing")


INTERP1D = Fix(
    name="interp1d-duplicates",
    breaks="eval/verification.py:151: Expect x to not have duplicates, at the first verification of a training run",
    since="SciPy 1.x: seen with 1.17; scipy/scipy#21550",
    fix="equal x are taken as older SciPy took them; no result depends on it, since verification.test() throws this one away",
    until="arcface_torch no longer interpolates there",
    applies=_duplicates_stop,
    apply=_allow_duplicates,
)
SKIMAGE = Fix(
    name="skimage-estimate",
    breaks="eval_ijbc.py:89, onnx_ijbc.py:46, ../_evaluation_/ijb/ijb_evals.py:96: transform.estimate() warns, and is to be "
    "removed in 2.2",
    since="scikit-image 0.26",
    fix="estimate() through from_estimate()",
    until="arcface_torch calls from_estimate()",
    applies=_estimate_is_old,
    apply=_keep_estimate,
)
SKLEARN = Fix(
    name="sklearn-preprocessing",
    breaks="eval_ijbc.py:244, eval/verification.py:265, 269: sklearn.preprocessing is used, and no line imports it",
    since="scikit-learn that does not import its parts when they are asked for",
    fix="it is imported",
    until="arcface_torch imports it",
    applies=_preprocessing_is_not_imported,
    apply=_import_preprocessing,
)
MENPO = Fix(
    name="menpo",
    breaks="eval_ijbc.py:21, utils/plot.py:7: menpo, for the colours of one plot; it has no wheel for this Python",
    since="menpo 0.11.1 builds from source on Python 3.11",
    fix="sample_colours_from_colourmap through matplotlib, where menpo is not installed",
    until="arcface_torch takes its colours from matplotlib",
    applies=lambda: None if _installed("menpo") else "menpo is not installed",
    apply=lambda stack: stand_in(stack, "menpo"),
)
PTFLOPS = Fix(
    name="ptflops",
    breaks="flops.py:1: ptflops",
    since="every version: requirement.txt does not name it",
    fix="get_model_complexity_info through torch.utils.flop_counter, where ptflops is not installed",
    until="arcface_torch counts with torch",
    applies=lambda: None if _installed("ptflops") else "ptflops is not installed",
    apply=lambda stack: stand_in(stack, "ptflops"),
)
