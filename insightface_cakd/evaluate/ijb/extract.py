"""Embeds all faces of an IJB tree, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.ijb.crops import Batch, aligned_batches, batches_in_threads
from insightface_cakd.evaluate.ijb.lists import Faces, Tree, require_images
from insightface_cakd.evaluate.ijb.presets import PIXELS, Pixels
from insightface_cakd.evaluate.ijb.store import Embeddings, Origin, open_store, require_origin
from insightface_cakd.evaluate.ijb.writing import as_block, require_room, save_store
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.networks.onnx import OnnxNetwork
from insightface_cakd.runtime.long_job import LongJob, Phase, long_job
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.runtime.threads import one_thread_each

# Faces of a block, which is lost when the work is killed within it.
BLOCK = 512


def extract(
    load: Callable[[], Embed],
    origin: Origin,
    tree: Tree,
    faces: Faces,
    folder: Path,
    execution: Execution,
    max_corrupt: int = 0,
    progress: Progress | None = None,
) -> Embeddings:
    """Return the embeddings of all faces and of their mirror images.

    What the folder already contains is not computed again. All ranks of a group share the faces, and a stopped extraction is gone on
    with: the embeddings are the same, see `long_job`.

    Args:
        load: returns the model, which maps (B, 3, 112, 112) to (B, D); not called when everything is saved.
        execution: how to run; the batch size counts faces, and each is embedded with its mirror image.
        max_corrupt: number of images that may be corrupt; they are left out of their templates.
        progress: called with (faces done, faces in all).
    """
    if not folder.exists():
        require_images(tree, faces.names)
        embed = load()
        require_scale(embed, origin)
        phase = Phase("embedded", len(faces.names), BLOCK)
        with long_job(folder, origin.decisive, EvaluationError) as job:
            with evaluating(embed):
                _embed_mine(embed, origin, tree, faces, job, phase, execution, max_corrupt, progress)
            blocks = job.blocks(phase)
            if rank() == 0:
                save_store(folder, origin, blocks)
    meta, embeddings = open_store(folder)
    require_origin(folder, meta, origin)
    require_few(embeddings.corrupt, faces.names, max_corrupt, tree)
    return embeddings


def _embed_mine(
    embed: Embed,
    origin: Origin,
    tree: Tree,
    faces: Faces,
    job: LongJob,
    phase: Phase,
    execution: Execution,
    max_corrupt: int,
    progress: Progress | None,
) -> None:
    """Embed the blocks of this rank that are missing."""
    total, size = len(faces.names), execution.batch_size
    spans = job.mine(phase)
    batches = {number: [span[at : at + size] for at in range(0, len(span), size)] for number, span in spans.items()}
    embedded = _embedded(
        embed, tree, faces, [rows for some in batches.values() for rows in some], origin.pixels, execution
    )
    corrupt: dict[int, str] = {}
    width = 0
    for number, some in batches.items():
        done, parts, faults = job.done(phase), list[tuple[np.ndarray, np.ndarray]](), dict[int, str]()
        for batch, found in islice(embedded, len(some)):
            corrupt, faults = corrupt | batch.corrupt, faults | batch.corrupt
            require_few(corrupt, faces.names, max_corrupt, tree)
            parts.append(_rows(found, batch, faces.names, width))
            if not width:
                width = found.shape[1]
                require_room(job.folder, total, width)
            done += len(batch.images)
            if progress:
                progress(min(done, total), total)
        job.save(phase, number, as_block(parts, faults))


def require_few(corrupt: dict[int, str], names: list[str], limit: int, tree: Tree) -> None:
    """Check that no more images than allowed are corrupt (row -> fault)."""
    if len(corrupt) > limit:
        shown = "; ".join(f"{names[row]}: {fault}" for row, fault in list(corrupt.items())[:5])
        raise EvaluationError(
            f"{tree.images}: {len(corrupt)} corrupt images ({shown}); expected at most {limit}. Replace them, or leave them "
            f"out of their templates with --max-corrupt {len(corrupt)}."
        )


def require_scale(embed: Embed, origin: Origin) -> None:
    """Check that a graph which normalises images has the preset's divisor."""
    if getattr(embed, "takes_bytes", False) and origin.pixels.endswith("/128"):
        raise EvaluationError(
            f"{origin.model}: subtracts the mean and divides itself, and ijb_evals would do so once more; expected a model "
            "that takes scaled images. Use --preset onnx_ijbc."
        )


@torch.inference_mode()
def embedding_width(embed: Embed, pixels: str, device: torch.device) -> int:
    """Return the embedding width D, found by embedding one face of zeros."""
    with evaluating(embed):
        found = embed(both_views(np.zeros((1, FACE_SIZE, FACE_SIZE, 3), np.uint8), pixels, device))
    _require_rows(found, 2, 0)
    return int(found.shape[1])


def _embedded(
    embed: Embed, tree: Tree, faces: Faces, batches: Sequence[range], pixels: str, execution: Execution
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches, and the embeddings of both their views.

    On a CPU, each thread embeds batches of its own. PyTorch's threads would share a batch instead, and wait for each other
    after every layer: longer than they compute, where another process or decoding has one of their cores.
    """
    device = execution.device

    @torch.inference_mode()
    def both(batch: Batch) -> tuple[Batch, Tensor]:
        return batch, embed(both_views(batch.images, pixels, device))

    given = tree.images, faces.names, faces.points, batches
    if device.type == "cpu" and isinstance(embed, nn.Module) and not isinstance(embed, OnnxNetwork):
        threads = max(execution.workers, torch.get_num_threads())
        with one_thread_each():
            yield from batches_in_threads(*given, both, threads)
    else:
        yield from map(both, aligned_batches(*given, execution.workers))


def _rows(found: Tensor, batch: Batch, names: list[str], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings of both views, NaN for corrupt images."""
    count = len(batch.images)
    _require_rows(found, 2 * count, width)
    rows = found.float().cpu().numpy()
    bad = ~np.isfinite(rows).all(axis=1).reshape(2, count).all(axis=0)
    bad[[row - batch.start for row in batch.corrupt]] = False
    if bad.any():
        raise EvaluationError(
            f"model: {int(bad.sum())} of {count} embeddings are not finite (first: {names[batch.start + int(bad.argmax())]}); "
            "expected numbers. Its weights are damaged, or half precision overflowed: measure it in float32."
        )
    rows = rows.copy()
    for row in batch.corrupt:
        rows[[row - batch.start, row - batch.start + count]] = np.nan
    return rows[:count], rows[count:]


def _require_rows(found: object, count: int, width: int) -> None:
    """Check that output is (count, width), where width 0 stands for any."""
    found_width = found.shape[1] if isinstance(found, Tensor) and found.ndim == 2 and len(found) == count else 0
    if not found_width or found_width != (width or found_width):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise EvaluationError(
            f"model: gave {shape} for {count} images; expected a tensor ({count}, {width or 'D'}), one embedding per image. "
            "In eval mode a network returns its embedding alone."
        )


def both_views(images: np.ndarray, pixels: str, device: torch.device) -> Tensor:
    """Return float32 (2B, 3, H, W): images, then their mirror images.

    Args:
        images: uint8 (B, H, W, 3) RGB.
        pixels: input scale, a key of `PIXELS`.
    """
    if device.type == "cpu":
        return torch.from_numpy(_both_views_on_cpu(images, PIXELS[pixels]))
    # Transposed while they are bytes, which is a quarter of the data to move.
    plain = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).contiguous()
    both = torch.cat([plain, plain.flip(-1)]).float()
    PIXELS[pixels](both)
    return both


def _both_views_on_cpu(images: np.ndarray, scale: Callable[[Pixels], None]) -> np.ndarray:
    """Convert face by face, so that each stays in the cache.

    One thread does it: PyTorch's threads would wait for those that decode.
    """
    count, height, width, channels = images.shape
    both = np.empty((2 * count, channels, height, width), np.float32)
    for image, plain, mirrored in zip(images, both[:count], both[count:], strict=True):
        plain[...] = image.transpose(2, 0, 1)
        scale(plain)
        mirrored[...] = plain[..., ::-1]
    return both
