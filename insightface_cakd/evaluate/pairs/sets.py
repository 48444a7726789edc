"""Measures several verification sets and variants of them in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.data.bins import VerificationSet, decode_pairs, load_bin, read_bin
from insightface_cakd.data.folders import is_litter
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.bootstrap import Interval, Resamples, interval_of
from insightface_cakd.evaluate.pairs.embeddings import embed_both
from insightface_cakd.evaluate.pairs.mistakes import Mistake, nearest_mistakes
from insightface_cakd.evaluate.pairs.variants import PLAIN, On, Variant, vary
from insightface_cakd.evaluate.pairs.verification import (
    FOLDS,
    VerificationResult,
    judge,
    mean_norm,
    pair_distances,
    require_kinds,
)
from insightface_cakd.networks.face_bn import face_batch_norm, following_norms
from insightface_cakd.networks.models import Embed
from insightface_cakd.runtime.progress import Progress

# Faces whose statistics FaceBN takes at a time; its result depends on it, so that --batch does not change it.
FACE_BN_BATCH = 64


@dataclass(frozen=True, eq=False)
class SetResult:
    """A model's numbers on one variant of a set.

    XNorm is the mean norm of the embeddings of plain and of mirrored images; `tar_intervals` has the FARs that are
    supported; `face_bn` is the share of the test's own batch-norm statistics; `mistakes` are of the first variant of a set.
    """

    name: str
    variant: str
    verified: VerificationResult
    xnorm: float
    interval: Interval
    tar_intervals: dict[float, Interval]
    face_bn: float = 0
    mistakes: Sequence[Mistake] = ()


def find_sets(places: Sequence[Path]) -> dict[str, Path]:
    """Return name -> path of .bin files, also those in folders.

    Files come in the order given, the .bin files of a folder sorted by name.
    """
    found: dict[str, Path] = {}
    for place in places:
        paths = (
            sorted(path for path in place.glob("*.bin") if path.is_file() and not is_litter(path))
            if place.is_dir()
            else [place]
        )
        if not paths:
            raise EvaluationError(
                f"{place}: a folder without .bin files; expected verification sets. Correct the path."
            )
        for path in paths:
            if path.stem in found:
                raise EvaluationError(
                    f"{path}: another set, {found[path.stem]}, has the same name; expected different ones. Rename one."
                )
            found[path.stem] = path
    return found


def load_sets(places: Sequence[Path]) -> dict[str, VerificationSet]:
    """Load name -> set, each checked to be fit for ten folds."""
    loaded = {}
    for name, path in find_sets(places).items():
        loaded[name] = load_bin(path)
        require_kinds(loaded[name].same, str(path))
    return loaded


def varied_sets(
    places: Sequence[Path], variants: Sequence[Variant], on: On = "probe"
) -> Iterator[tuple[str, Variant, VerificationSet]]:
    """Yield name, variant and images of all variants of all sets.

    One set is in memory at a time.
    """
    found = find_sets(places)
    for path in found.values():
        # All are checked before the first is measured: the last of many may be unusable.
        require_kinds(np.array(read_bin(path)[1]), str(path))
    for name, path in found.items():
        pairs = load_bin(path)
        for variant in variants:
            yield name, variant, pairs if variant.name == PLAIN else vary(pairs, variant, on)


def embed_pairs(
    embed: Embed, pairs: VerificationSet, variant: Variant, execution: Execution, what: str
) -> tuple[np.ndarray, float]:
    """Return embeddings (2P, D), not normalised, and XNorm.

    The set is already changed to the variant, which says whether the mirror image's embedding is added. `what` is the
    title of the progress bar, and the beginning of an error message.
    """
    try:
        with execution.bar(what) as progress:
            if variant.face_bn:
                plain, mirrored = _embed_adapted(embed, pairs.images, variant.face_bn, execution, progress)
            else:
                plain, mirrored = embed_both(
                    embed, pairs.images, execution.device, execution.batch_size, progress, execution.shared
                )
    except EvaluationError as error:
        raise EvaluationError(f"{what}: {error}") from error
    return (plain + mirrored if variant.mirrored else plain), mean_norm(plain, mirrored)


def _embed_adapted(
    embed: Embed, images: np.ndarray, share: float, execution: Execution, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of images and mirror images under FaceBN.

    The images are shuffled, always alike, and the last batch is filled up from the beginning, so that every batch has
    the same size and faces of many people. Mirror images are batches of their own.
    """
    size = min(FACE_BN_BATCH, len(images))
    order = np.random.default_rng(0).permutation(len(images))
    filled = np.resize(order, -(-len(images) // size) * size)
    with face_batch_norm(embed, share):
        found = embed_both(embed, images[filled], execution.device, size, progress, execution.shared)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return found[0][place], found[1][place]


def measure_sets(
    embed: Embed, places: Sequence[Path], variants: Sequence[Variant], execution: Execution, on: On = "probe"
) -> list[SetResult]:
    """Measure a model on all variants of all sets."""
    results = []
    for variant in variants:
        if variant.face_bn:
            # Before the first set is measured.
            following_norms(embed, variant.face_bn)
    for name, variant, pairs in varied_sets(places, variants, on):
        what = titled(name, variant.name)
        rows, xnorm = embed_pairs(embed, pairs, variant, execution, what)
        verified = judge(pair_distances(rows), pairs.same, what)
        resamples = Resamples.of(pairs)
        accuracy = interval_of(resamples.mean(verified.right, verified.weights))
        tars = tar_intervals(verified, resamples)
        wrong = nearest_mistakes(name, verified, pairs.images) if variant is variants[0] else ()
        results.append(SetResult(name, variant.name, verified, xnorm, accuracy, tars, variant.face_bn, wrong))
    return results


def tar_intervals(verified: VerificationResult, resamples: Resamples) -> dict[float, Interval]:
    """Return the interval of TAR at each FAR with enough different pairs."""
    return {
        far: interval_of(resamples.tar(verified.distances, far))
        for far, tar in verified.tar_at_far.items()
        if tar is not None
    }


def thinned(pairs: VerificationSet, most: int) -> VerificationSet:
    """Return every n-th pair, `most` or fewer in all.

    The whole set is returned where the remaining pairs could not be judged in ten folds.
    """
    step = _step(pairs.same, most)
    if step == 1:
        return pairs
    shape = pairs.images.shape[1:]
    images = pairs.images.reshape(-1, 2, *shape)[::step].reshape(-1, *shape)
    return VerificationSet(images, pairs.same[::step], None if pairs.people is None else pairs.people[::step])


def load_thinned(path: Path, most: int) -> tuple[VerificationSet, int]:
    """Load a .bin thinned, and return the number of all its pairs.

    Pairs that are left out, see `thinned`, are not decoded.
    """
    encoded, same = read_bin(path)
    return decode_pairs(path, encoded, same, _step(np.asarray(same, bool), most)), len(same)


def _step(same: np.ndarray, most: int) -> int:
    step = -(-len(same) // most)
    kept = same[::step]
    return 1 if len(kept) < FOLDS or kept.all() or not kept.any() else step


def titled(name: str, variant: str) -> str:
    """Return a set's name, followed by its variant unless that is plain."""
    return name if variant == PLAIN else f"{name}, {variant}"
