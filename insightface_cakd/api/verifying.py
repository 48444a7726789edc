"""Whether two faces are of one person."""

from pathlib import Path

import numpy as np

from insightface_cakd.api.recogniser import Recogniser, load
from insightface_cakd.data.align.given import Image
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.verdict import Threshold, Verdict, compare_embeddings
from insightface_cakd.runtime.run_folder import RunFolder


def verify(
    first: Image,
    second: Image,
    model: str | Path | RunFolder | Recogniser | None = None,
    threshold: float | str | Path | Threshold | None = None,
) -> Verdict:
    """Compare two faces, or two embeddings.

    The similarity is the cosine of the embeddings of the two images, without their mirror images.

    Shape:
        first, second: a path or uint8 (H, W, 3) RGB as `Recogniser.embed` takes them; or an embedding, float (D,) or (1, D).

    Args:
        model: embeds images; not needed for embeddings. A path is loaded anew in each call: give what `load` returned.
        threshold: a cosine, the verdict's limit; a `.bin` verification set, on which it is measured, see `Recogniser.threshold`; what that
            method returned; or None, which gives a similarity and no verdict. There is no default: a limit belongs to a model and the
            images it is used on.

    Raises:
        DataError: an image or a set cannot be used.
        EvaluationError: there is no model where one is needed, embeddings do not fit, or the threshold is no cosine.
    """
    loaded = model if isinstance(model, Recogniser) or model is None else load(model)
    limit = _threshold(threshold, loaded)
    return compare_embeddings(_embedding(first, loaded), _embedding(second, loaded), limit)


def _threshold(given: float | str | Path | Threshold | None, model: Recogniser | None) -> Threshold | None:
    if given is None or isinstance(given, Threshold):
        return given
    if isinstance(given, str | Path):
        return _needed(model, f"to measure a threshold on {given}").threshold(given)
    return Threshold(float(given))


def _embedding(image: Image, model: Recogniser | None) -> np.ndarray:
    if isinstance(image, np.ndarray) and image.dtype.kind == "f":
        return image[0] if image.ndim == 2 and len(image) == 1 else image
    return _needed(model, "to embed images").embed(image)[0]


def _needed(model: Recogniser | None, why: str) -> Recogniser:
    if model is None:
        raise EvaluationError(f"verify: no model {why}; expected one. Pass model, or two embeddings.")
    return model
