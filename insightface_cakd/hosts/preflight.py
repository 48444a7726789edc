"""Finds before the first step what would stop a checkout's run."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import torch
from easydict import EasyDict

from insightface_cakd.data.bins import read_bin
from insightface_cakd.data.folders import IMAGE_SUFFIXES, find_people, first_names, shown
from insightface_cakd.data.records import FaceRecords, has_records
from insightface_cakd.data.shards import SHARDS
from insightface_cakd.errors import DataError, RunError
from insightface_cakd.hosts.generations import checkpoint_path, exists, newest
from insightface_cakd.hosts.job_spec import CheckoutJobSpec, check_job

# Up to ALL_LABELS records every label is read; above, SAMPLED_LABELS of them spread evenly over the file, since each
# costs a disk read.
ALL_LABELS = 1 << 16
SAMPLED_LABELS = 1 << 12
FOLDS = 10


def check_run(cfg: EasyDict, world_size: int, hosts_data: bool = True) -> None:
    """Check a config against the ranks, the data and the output folder.

    Data that a task reads itself are not the host's to check: `hosts_data` is then False.
    """
    check_job(cfg, CheckoutJobSpec)
    _check_limits(cfg)
    check_ranks(cfg, world_size)
    if hosts_data:
        check_data(str(cfg.rec), cfg.num_classes, cfg.batch_size * world_size)
    for path in verification_sets(cfg):
        check_folds(path)


def check_ranks(cfg: EasyDict, world_size: int) -> None:
    """Check classes for each rank, and a resumed run's checkpoint."""
    if cfg.num_classes < world_size:
        raise RunError(
            f"config: num_classes is {cfg.num_classes} on {world_size} ranks; expected at least one class a rank, or all ranks "
            "would wait for ever. Start fewer ranks."
        )
    if cfg.resume:
        _require_checkpoint(Path(cfg.output))


def _require_checkpoint(output: Path) -> None:
    if not exists(output):
        raise RunError(
            f"resume: {checkpoint_path(output, 0)} does not exist; expected the checkpoint of a run that was stopped, which arcface_torch "
            "saves with save_all_states=True only. Start it without resume."
        )
    newest(output, "resume")


def check_data(rec: str, num_classes: int, total_batch: int) -> None:
    """Check that data other than "synthetic" fits `num_classes` and fills a batch."""
    if rec == "synthetic":
        return
    if (Path(rec) / SHARDS).exists() and not has_records(rec):
        raise RunError(
            f"{rec}: holds {SHARDS}, several record files; expected one train.rec, which is all that arcface_torch reads. Train without "
            "--host, or on one of the files."
        )
    # The images of folders are not counted, since that is slow.
    images, classes = count_records(rec) if has_records(rec) else (None, _count_folders(rec))
    if classes > num_classes:
        raise RunError(
            f"{rec}: has labels up to {classes - 1}, num_classes is {num_classes}; expected labels below num_classes, since a label "
            f"without a class is trained against all of them. Set num_classes={classes}."
        )
    if images is not None and images < total_batch:
        raise RunError(
            f"{rec}: {images} images; expected at least one batch of {total_batch} over all ranks. Lower batch_size."
        )


def verification_sets(cfg: EasyDict) -> list[Path]:
    """Return the existing files of val_targets; arcface_torch skips the others silently."""
    paths = [Path(str(cfg.rec)) / f"{name}.bin" for name in cfg.val_targets]
    return [path for path in paths if path.is_file()]


def check_folds(path: Path) -> None:
    """Check both kinds of pairs in each tenth: arcface_torch divides by them."""
    _, same = read_bin(path)
    for number, fold in enumerate(np.array_split(np.asarray(same, bool), FOLDS)):
        if not fold.any() or fold.all():
            raise RunError(
                f"{path}: fold {number} of {FOLDS} holds {int(fold.sum())} same and {int((~fold).sum())} different pairs; expected both "
                "kinds in each tenth of the file, in its order. Use a larger set, or take it out of val_targets."
            )


def count_records(rec: str) -> tuple[int, int]:
    """Return a record folder's number of images and highest label plus one.

    The header gives the number of people. Where there is no header, or it does not give that number, labels are read:
    all of a small file, a sample of a large one, which is enough to notice the num_classes of another data set.
    """
    faces = FaceRecords(rec)
    if len(faces) == 0:
        raise DataError(f"{rec}: no images in train.rec; expected some. Pack the data again.")
    _check_first_record(faces)
    if faces.header is not None and faces.header[1] > faces.header[0]:
        return len(faces), faces.num_classes
    if len(faces) <= ALL_LABELS:
        return len(faces), int(faces.labels().max()) + 1
    rows = np.linspace(0, len(faces) - 1, SAMPLED_LABELS).astype(np.int64)
    return len(faces), int(faces.reader.scan(faces.keys[rows])["label"].max()) + 1


def _count_folders(rec: str) -> int:
    """Return the number of sub-folders: arcface_torch takes each for one person.

    It takes what a system or a notebook left there, too.
    """
    folder = Path(rec)
    if not folder.is_dir() or not any(child.is_dir() for child in folder.iterdir()):
        raise DataError(
            f"{rec}: no train.rec and no folders of people; expected train.rec and train.idx, or one folder of images per person. "
            "Correct rec."
        )
    people = find_people(folder)
    taken = [
        shown(path, folder)
        for path in people.skipped
        if path.is_dir() or (path.parent != folder and path.suffix.lower() in IMAGE_SUFFIXES)
    ]
    if taken:
        raise DataError(
            f"{rec}: arcface_torch takes every folder for a person and every image in one for a face, also {first_names(taken)}; expected "
            "people and faces only. Remove them, or pack the folder with `cakd data pack`."
        )
    return len(people.images)


def _check_limits(cfg: EasyDict) -> None:
    """Check the margins, the output folder and the imports of two options."""
    m1, _, m3 = cfg.margin_list
    if m3 <= 0 and (m1 != 1 or m3 != 0):
        raise RunError(
            f"config: margin_list is {cfg.margin_list}; expected (1.0, m2, 0.0) or (1.0, 0.0, m3), others stop at the first step "
            "(losses.py:54). Correct it."
        )
    if cfg.get("dali") and cfg.rec != "synthetic":
        if importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None:
            raise RunError(
                "config: dali is True, but DALI is not installed. Set dali=False, or pip install nvidia-dali-cuda120."
            )
        if not torch.cuda.is_available():
            raise RunError("config: dali is True, but DALI needs a GPU, and there is none. Set dali=False.")
    if cfg.get("using_wandb") and importlib.util.find_spec("wandb") is None:
        raise RunError(
            "config: using_wandb is True, but wandb is not installed. Set using_wandb=False, or pip install wandb."
        )
    output = Path(str(cfg.output))
    there = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise RunError(f"output: {there} is no folder that can be written; expected one for {output}. Set output=DIR.")


def _check_first_record(faces: FaceRecords) -> None:
    """Check record 0: arcface_torch takes one with several labels for a header."""
    if faces.header is not None:
        return
    where = f"{faces.reader.path}: record 0"
    if 0 not in faces.keys:
        raise DataError(
            f"{where} is missing; arcface_torch reads it first (dataset.py:151). Pack the data again: `cakd data pack`."
        )
    if faces.reader.read(0).flag > 0:
        raise DataError(
            f"{where} is an image with several labels; arcface_torch takes it for a header (dataset.py:153) and reads other images. Pack "
            "the data again: `cakd data pack`."
        )
