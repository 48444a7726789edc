"""A config of a checkout: what would stop arcface_torch's own loop, or let it do something else than the config says."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from easydict import EasyDict

from insightface_cakd.data.records import FaceRecords
from insightface_cakd.doctor.data import examine_records, examine_sets
from insightface_cakd.doctor.findings import Finding, note, ok, problem, refusals
from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.job_spec import CheckoutJobSpec, job_problems
from insightface_cakd.hosts.preflight import check_data, check_folds, check_ranks, count_folders
from insightface_cakd.runtime.ranks import rank, world_size


def examine_job(cfg: EasyDict) -> Iterator[Finding]:
    """Look at a config's values, its data, its steps, its verification sets and its output folder."""
    values = list(job_problems(cfg, CheckoutJobSpec))
    if isinstance(cfg.get("num_classes"), int):
        yield from refusals(lambda: check_ranks(cfg, rank(), world_size()))
    yield from map(problem, values)
    yield from _margin(cfg.get("margin_list"))
    yield from _packages(cfg)
    yield from _output(cfg)
    if cfg.get("rec") is None:
        return
    rec = str(cfg.rec)
    yield from examine_faces(rec, _whole(cfg, "num_classes", sys.maxsize), _whole(cfg, "batch_size", 0) * world_size())
    if not values:
        yield from _steps(cfg, cfg.batch_size * world_size())
    if isinstance(cfg.get("val_targets"), list | tuple):
        yield from examine_sets(cfg.val_targets, rec, check_folds)


def _whole(cfg: EasyDict, key: str, otherwise: int) -> int:
    """Return a key's value, or something else where it is no whole number, which another line says."""
    value = cfg.get(key)
    return value if isinstance(value, int) else otherwise


def examine_faces(rec: str, num_classes: int = sys.maxsize, total_batch: int = 0) -> Iterator[Finding]:
    """Look at training images of any kind that arcface_torch takes.

    Args:
        rec: "synthetic", a folder with train.rec, or one of people's folders.
        num_classes: of the config.
        total_batch: images of a step, over all ranks.
    """
    told = []
    try:
        if rec == "synthetic":
            told.append(ok("synthetic: 1000000 images of 1 person, no data is read"))
        elif (Path(rec) / "train.rec").exists():
            faces = FaceRecords(rec)
            known = None if num_classes == sys.maxsize else num_classes
            told += [*examine_records(faces, rec, known), *_record_zero(faces)]
        else:
            told.append(ok(f"{rec}: {count_folders(rec)[1]} people's folders, images not counted"))
    except CAKDError as error:
        told.append(problem(str(error)))
    yield from told
    if not any(finding.kind == "problem" for finding in told):
        yield from refusals(lambda: check_data(rec, num_classes, 0), lambda: check_data(rec, sys.maxsize, total_batch))


def _record_zero(faces: FaceRecords) -> Iterator[Finding]:
    """Look at what `dataset.py` reads first, and takes for a header where it has several labels."""
    if faces.header is not None:
        return
    where = f"{faces.reader.path}: record 0"
    if 0 not in faces.keys:
        yield problem(
            f"{where} is missing; arcface_torch reads it first (dataset.py:151). Pack the data again: `cakd data pack`."
        )
    elif faces.reader.read(0).flag > 0:
        yield problem(
            f"{where} is an image with several labels; arcface_torch takes it for a header (dataset.py:153) and reads other images. Pack "
            "the data again: `cakd data pack`."
        )


def _margin(margin: object) -> Iterator[Finding]:
    if (
        not isinstance(margin, list | tuple)
        or len(margin) != 3
        or not all(isinstance(one, int | float) for one in margin)
    ):
        return
    m1, m2, m3 = margin
    if m3 > 0 and (m1 != 1 or m2 != 0):
        yield note(f"config: margin_list is {margin}, of which arcface_torch uses m3 = {m3} only (losses.py:50-53).")
    elif m3 <= 0 and (m1 != 1 or m3 != 0):
        yield problem(
            f"config: margin_list is {margin}; expected (1.0, m2, 0.0) or (1.0, 0.0, m3), others stop at the first step (losses.py:54). "
            "Correct it."
        )


def _packages(cfg: EasyDict) -> Iterator[Finding]:
    """Look for what two options import, and where they run."""
    dali = bool(cfg.get("dali")) and cfg.get("rec") != "synthetic"
    if dali and not _installed("nvidia.dali"):
        yield problem(
            "config: dali is True, but DALI is not installed. Set dali=False, or pip install nvidia-dali-cuda120."
        )
    elif dali and not torch.cuda.is_available():
        yield problem("config: dali is True, but DALI needs a GPU, and there is none. Set dali=False.")
    if cfg.get("using_wandb") and not _installed("wandb"):
        yield problem(
            "config: using_wandb is True, but wandb is not installed. Set using_wandb=False, or pip install wandb."
        )
    elif cfg.get("using_wandb") and "notes" not in cfg:
        yield note(
            "config: using_wandb is True, but notes is not set, so wandb stays off (train_v2.py:78). Set notes in the file."
        )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _output(cfg: EasyDict) -> Iterator[Finding]:
    output = Path(str(cfg.output))
    there = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield problem(f"output: {there} is no folder that can be written; expected one for {output}. Set output=DIR.")
    elif (output / "model.pt").is_file() and not cfg.resume:
        yield note(
            f"output: {output} holds another run's model.pt, which arcface_torch overwrites. Set output=DIR to keep it."
        )


def _count(rec: str) -> int | None:
    """Return the number of images, 0 where they cannot be read, None where they are not counted."""
    if not (Path(rec) / "train.rec").exists():
        return None
    try:
        return len(FaceRecords(rec))
    except CAKDError:
        return 0


def _steps(cfg: EasyDict, total_batch: int) -> Iterator[Finding]:
    """Compare the steps that the schedule plans, which come from num_image, with those that the images give."""
    images = _count(str(cfg.rec))
    planned = cfg.num_image // total_batch * cfg.num_epoch
    real = planned if images is None else images // total_batch * cfg.num_epoch
    if images is not None and real == 0:
        return
    if images is None or images == cfg.num_image:
        yield ok(
            f"steps: {planned} by num_image, of {total_batch} images on {world_size()} rank{'s' * (world_size() > 1)}"
        )
    else:
        rate = "falls to 0 as the run ends"
        if planned != real:
            rate = (
                "does not fall to 0" if planned > real else f"is 0 from step {planned} on" if planned else "never falls"
            )
        yield note(
            f"config: num_image is {cfg.num_image}, {cfg.rec} holds {images} images; the schedule, which counts with num_image, plans "
            f"{planned} steps and the run has {real}: its learning rate {rate}. Set num_image={images}."
        )
    if cfg.warmup_epoch >= cfg.num_epoch:
        yield note(
            f"config: warmup_epoch is {cfg.warmup_epoch} of {cfg.num_epoch} epochs; the learning rate never falls."
        )
    if cfg.val_targets and real < cfg.verbose:
        yield note(
            f"config: verbose is {cfg.verbose}, the run has {real} steps; arcface_torch verifies every {cfg.verbose} steps, so never. "
            f"Set verbose={max(real // max(int(cfg.num_epoch), 1), 1)}."
        )
