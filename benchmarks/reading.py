"""Reading of training images against bare decoding of the same bytes."""

import io
import itertools
import multiprocessing
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import simplejpeg
import torch
import typer
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from insightface_cakd.errors import DataError
from insightface_cakd.hosts.embedded.dataset import get_dataloader, open_faces
from insightface_cakd.report.tables import Row, markdown_table

Decoder = Callable[[bytes], np.ndarray]
# Starts; gives an iterator of numbers of images read, of which the first is not timed.
Start = Callable[[], Generator[int, None, None]]

_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_CHUNK = 256
_WARM_UP = 1024
# Seconds between looks at what other processes have done.
_PAUSE = 0.05
BY_TWO = "simplejpeg, 2 processes"
# Linux: the kind of clock that clock_getcpuclockid names.
_CPU_OF_PROCESS = 2


@dataclass(frozen=True)
class Taken:
    """Seconds that an image took.

    Args:
        cpu: of all processes together.
        wall: of a clock.
    """

    cpu: float
    wall: float


def _opencv(data: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), _STORED))


def _opencv_rgb(data: bytes) -> np.ndarray:
    return cv2.cvtColor(_opencv(data), cv2.COLOR_BGR2RGB)


def _simplejpeg(data: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, "RGB")


def _torchvision(data: bytes) -> np.ndarray:
    encoded = torch.from_numpy(np.frombuffer(bytearray(data), np.uint8))
    return decode_jpeg(encoded, ImageReadMode.RGB).permute(1, 2, 0).numpy()


def _pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


DECODERS: dict[str, Decoder] = {
    "simplejpeg": _simplejpeg,
    "OpenCV, BGR": _opencv,
    "OpenCV, RGB": _opencv_rgb,
    "torchvision": _torchvision,
    "Pillow": _pillow,
}


def jpegs(folder: Path, most: int) -> list[bytes]:
    """Return some of a set's encoded images, in random order."""
    faces = open_faces(str(folder))
    chosen = np.random.default_rng(0).permutation(len(faces))[:most]
    found = [faces.stored(int(index))[1] for index in chosen]
    if not all(data.startswith(b"\xff\xd8") for data in found):
        raise DataError(
            f"{folder}: holds images that are no JPEG; expected JPEG, as decoders of it are timed. Take another set."
        )
    return found


def equal_to_mxnet(found: list[bytes]) -> dict[str, int]:
    """Return for how many images a decoder gives OpenCV's pixels, which are mxnet's."""
    expected = [_opencv_rgb(data) for data in found]
    return {
        name: sum(np.array_equal(decode(data), pixels) for data, pixels in zip(found, expected, strict=True))
        for name, decode in DECODERS.items()
        if decode is not _opencv
    }


def decoding(decode: Decoder, found: list[bytes]) -> Generator[int, None, None]:
    """Decode bytes in memory, over and over."""
    while True:
        for start in range(0, len(found), _CHUNK):
            for data in found[start : start + _CHUNK]:
                decode(data)
            yield len(found[start : start + _CHUNK])


def decoding_by_two(decode: Decoder, found: list[bytes]) -> Generator[int, None, None]:
    """Decode bytes in memory in two processes at a time."""
    fork = multiprocessing.get_context("fork")
    done = [fork.Value("q", 0, lock=False) for _ in range(2)]
    processes = [fork.Process(target=_count, args=(decoding(decode, found), count), daemon=True) for count in done]
    with ExitStack() as running:
        for process in processes:
            process.start()
            running.callback(process.join)
            running.callback(process.terminate)
        before = 0
        while True:
            time.sleep(_PAUSE)
            now = sum(count.value for count in done)
            yield now - before
            before = now


def _count(images: Generator[int, None, None], done: Any) -> None:
    for count in images:
        done.value += count


def reader(folder: Path) -> Generator[int, None, None]:
    """Read items of a data set in random order, without a loader."""
    faces = open_faces(str(folder))
    chosen = np.random.default_rng(1).permutation(len(faces)).tolist()
    while True:
        for start in range(0, len(chosen), _CHUNK):
            for index in chosen[start : start + _CHUNK]:
                faces[index]
            yield len(chosen[start : start + _CHUNK])


def loader(folder: Path, batch: int, workers: int, as_floats: bool) -> Generator[int, None, None]:
    """Read a run's batches: bytes, as they go to a GPU, or what the network takes."""
    batches = get_dataloader(str(folder), 0, batch, num_workers=workers, device=torch.device("cpu"))
    for epoch in itertools.count():
        batches.set_epoch(epoch)
        for _ in batches if as_floats else batches.loader:
            yield batch


def take(start: Start, images: int) -> Taken:
    """Read some images, after as many as warm up."""
    with closing(start()) as running:
        _read(running, _WARM_UP)
        others = [process.pid for process in multiprocessing.active_children() if process.pid is not None]
        cpu, wall = _cpu(others), time.perf_counter()
        done = _read(running, images)
        return Taken((_cpu(others) - cpu) / done, (time.perf_counter() - wall) / done)


def _read(running: Generator[int, None, None], images: int) -> int:
    done = 0
    while done < images:
        done += next(running)
    return done


def _cpu(others: list[int]) -> float:
    return time.process_time() + sum(time.clock_gettime(~other << 3 | _CPU_OF_PROCESS) for other in others)


def bench_reading(folder: Path, images: int, batch: int, repeats: int) -> str:
    """Return tables of decoders, reader and loader; the least of some repeats, in turn.

    Args:
        folder: training images, all of them JPEG.
        images: to read of each kind.
        batch: images of a batch.
        repeats: of each kind.
    """
    found = jpegs(folder, images)
    kinds: dict[str, Start] = {name: partial(decoding, decode, found) for name, decode in DECODERS.items()}
    kinds["reader"] = partial(reader, folder)
    for workers in (0, 1):
        kinds |= _loaders(folder, batch, workers)
    kinds[BY_TWO] = partial(decoding_by_two, _simplejpeg, found)
    kinds |= _loaders(folder, batch, 2)
    taken: dict[str, list[Taken]] = {name: [] for name in kinds}
    for _ in range(repeats):
        for name, start in kinds.items():
            taken[name].append(take(start, images))
    least = {name: Taken(min(one.cpu for one in all_), min(one.wall for one in all_)) for name, all_ in taken.items()}
    return reading_table(least, equal_to_mxnet(found), len(found))


def _loaders(folder: Path, batch: int, workers: int) -> dict[str, Start]:
    said = f"loader, {workers} worker{'s' if workers != 1 else ''}"
    kinds = {"as bytes": False, "as floats": True}
    return {f"{said}, {kind}": partial(loader, folder, batch, workers, floats) for kind, floats in kinds.items()}


def reading_table(least: dict[str, Taken], equal: dict[str, int], images: int) -> str:
    """Return what images took as a table.

    What stands from `BY_TWO` on is compared with it: two processes slow each other down.

    Args:
        least: by kind, those of `DECODERS` among them, in the order of the table.
        equal: images whose pixels are mxnet's, by decoder.
        images: that were compared.
    """
    bare, rows = min(least[name].cpu for name in DECODERS), []
    for name, one in least.items():
        bare = one.cpu if name == BY_TWO else bare
        row: Row = {
            "what": name,
            "CPU time an image": f"{1e6 * one.cpu:.1f} us",
            "to bare decoding": f"{one.cpu / bare:.2f}",
            "images/s": f"{1 / one.wall:,.0f}",
            "pixels of mxnet": f"{equal[name]} of {images}" if name in equal else "",
        }
        rows.append(row)
    return markdown_table(rows)


def reading(
    data: Annotated[Path, typer.Argument(help="Folder with train.rec, or of people; JPEGs.")],
    images: Annotated[int, typer.Option(min=1, help="Read of each kind.")] = 6000,
    batch: Annotated[int, typer.Option(min=1, help="Images of a batch.")] = 128,
    repeats: Annotated[int, typer.Option(min=1, help="Of each kind, in turn.")] = 3,
) -> None:
    """Measure reading of training images against bare decoding.

    Decoders, the reader, and the loader as a run has it, with 0, 1 and 2 workers: CPU time of all processes, and images
    a second of the clock. `as bytes` is what goes to a GPU, which makes the network's input of it; `as floats` has that done here.
    Two workers are compared with two processes that decode.

    Example: `OMP_NUM_THREADS=1 python -m benchmarks reading data`
    \f
    Args:
        data: folder with train.rec, or one folder of images per person; all of them JPEG.
        images: read of each kind.
        batch: images of a batch.
        repeats: of each kind, in turn; the least is printed.
    """
    print(bench_reading(data, images, batch, repeats))
