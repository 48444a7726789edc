"""A config of the embedded host: what its own checks say of it, each asked alone, so that all of them answer."""

from collections.abc import Iterator
from pathlib import Path

import torch
from easydict import EasyDict

from insightface_cakd.data.records import FaceRecords
from insightface_cakd.doctor.data import examine_records, examine_sets, judge_set
from insightface_cakd.doctor.findings import Finding, note, ok, problem, refusals
from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.embedded.checkpoint import check_output
from insightface_cakd.hosts.embedded.dataset import get_dataloader, open_faces
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.hosts.embedded.train_v2 import SCALE
from insightface_cakd.hosts.job_spec import EmbeddedJobSpec, job_problems
from insightface_cakd.runtime.devices import choose_device


def examine_job(cfg: EasyDict) -> Iterator[Finding]:
    """Look at a config's values, its data, its verification sets and its output folder."""
    yield from _values(cfg)
    yield from _parts(cfg)
    if cfg.rec is None:
        return
    rec = str(cfg.rec)
    data = list(examine_faces(rec, cfg.num_classes if isinstance(cfg.num_classes, int) else None))
    yield from data
    if isinstance(cfg.batch_size, int) and cfg.batch_size > 0:
        known = any(finding.kind == "problem" for finding in data)
        yield from refusals(lambda: _loader(rec, cfg.batch_size, None if known else cfg.num_classes))
    if isinstance(cfg.val_targets, list | tuple):
        yield from examine_sets(map(str, cfg.val_targets), rec, judge_set)


def examine_faces(rec: str, num_classes: int | None = None) -> Iterator[Finding]:
    """Look at training images of any kind that the embedded host takes.

    Args:
        rec: "synthetic", a folder with train.rec, or one of people's folders.
        num_classes: of the config.
    """
    try:
        faces = open_faces(rec)
    except CAKDError as error:
        yield problem(str(error))
        return
    if isinstance(faces, FaceRecords):
        yield from examine_records(faces, rec, num_classes)
        return
    yield ok(f"{rec}: {len(faces)} images of {faces.num_classes} people")
    if num_classes is not None and faces.num_classes > num_classes:
        yield problem(
            f"{rec}: {faces.num_classes} people, num_classes is {num_classes}; expected a class for each. "
            f"Set num_classes={faces.num_classes}."
        )


def _values(cfg: EasyDict) -> Iterator[Finding]:
    # An open number of classes is read from the data.
    known = {**cfg, "num_classes": 1 if cfg.num_classes is None else cfg.num_classes}
    yield from map(problem, job_problems(known, EmbeddedJobSpec))


def _parts(cfg: EasyDict) -> Iterator[Finding]:
    """Build what a run builds without its data; values of a wrong type have been told."""
    yield from refusals(
        lambda: choose_device(cfg.get("device")),
        lambda: _loader("synthetic", 1, None, cfg.dali, cfg.dali_aug),
        lambda: check_output(Path(cfg.output), cfg.resume),
    )
    margin = cfg.margin_list if isinstance(cfg.margin_list, list | tuple) else ()
    if len(margin) == 3 and all(isinstance(value, int | float) for value in margin):
        m1, m2, m3 = margin
        yield from refusals(lambda: CombinedMarginLoss(SCALE, m1, m2, m3, cfg.interclass_filtering_threshold))
    if isinstance(cfg.sample_rate, int | float):
        yield from refusals(lambda: PartialFC_V2(torch.nn.Identity(), 1, 1, cfg.sample_rate))
    if cfg.sample_rate == 0:
        yield note("config: sample_rate is 0: of all classes a step uses those of its own images only.")


def _loader(rec: str, batch_size: int, classes: int | None, dali: bool = False, dali_aug: bool = False) -> None:
    """Build the run's loader; nothing is read by it yet."""
    get_dataloader(rec, 0, batch_size, dali, dali_aug, num_workers=0, device=torch.device("cpu"), num_classes=classes)
