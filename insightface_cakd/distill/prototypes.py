"""Prototypes of the training set: opened, checked and given to the terms."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from insightface_cakd.data.data_set_hash import data_set_hash
from insightface_cakd.data.label_order import check_labels, label_order
from insightface_cakd.data.prototypes import Prototypes
from insightface_cakd.data.prototypes.reading import HOW
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.errors import RecipeError, ShapeError, TeacherError
from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import Recipe
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.teachers import Teacher
from insightface_cakd.teachers.centres import holds_prototypes, labels_of

# The name of arcface_torch's synthetic data, which has no folder.
_SYNTHETIC = "synthetic"
_OTHER_CENTRES = "Pass the centres of a teacher trained on these data; a file with `weight` alone is taken as it is."


def open_prototypes(recipe: Recipe, teachers: Mapping[str, Teacher], data: Path | None) -> Prototypes | None:
    """Open the prototypes that a recipe's terms need; None without such terms.

    Class centres are checked too. Prototypes must be of the first teacher and of `data`, the run's folder, and the labels of all must be
    those of `data`; what is not known, None, is not compared.
    """
    teacher = next(iter(teachers.values()), None)
    if teacher is None:
        return None
    if recipe.reads_centres_by_label:
        _check_centres(recipe.teacher.centres, teacher, data)
    term = recipe.needs_prototypes
    if term is None:
        return None
    if recipe.teacher.prototypes is None:
        raise RecipeError(
            f"recipe: term '{term}' needs prototypes of the training set, but teacher.prototypes is not set; expected a folder written by "
            f"{HOW}. Set it, or pass --prototypes FOLDER."
        )
    where = "teacher.prototypes"
    prototypes = Prototypes.open(recipe.teacher.prototypes, where)
    _check_origin(prototypes, where, teacher, data)
    return prototypes


def _check_centres(paths: Sequence[str], teacher: Teacher, data: Path | None) -> None:
    """Refuse class centres whose rows belong to other people."""
    now = None if data is None else label_order(data)
    unsaid = []
    for number, path in enumerate(paths):
        where = f"teacher.centres[{number}]"
        if holds_prototypes(path):
            _check_origin(Prototypes.open(path, where), where, teacher, data)
            continue
        saved = labels_of(path)
        check_labels(saved, now, f"{where} {path}", TeacherError, _OTHER_CENTRES)
        if saved is None and now is not None:
            unsaid.append(Path(path).name)
    if unsaid and rank() == 0:
        print(
            f"teacher.centres: {', '.join(unsaid)} does not say whose labels its rows have; taken as they are",
            flush=True,
        )


def _check_origin(prototypes: Prototypes, where: str, teacher: Teacher, data: Path | None) -> None:
    """Refuse prototypes of another teacher or another data set."""
    meta, where = prototypes.meta, f"{where} {prototypes.folder}"
    digests = (meta.teacher_sha256, teacher.sha256)
    if None not in digests and digests[0] != digests[1]:
        raise TeacherError(
            f"{where}: written by {meta.teacher} (sha256 {_short(digests[0])}), the run's teacher is {teacher.name} (sha256 "
            f"{_short(digests[1])}); expected one teacher. Write them again with {HOW} and this teacher."
        )
    if meta.takes != str(teacher.takes):
        raise TeacherError(
            f"{where}: of a teacher that took pixels as {meta.takes}, the run's takes {teacher.takes}; expected the same. Set "
            f"teacher.channels, mean and std to those of the prototypes, or write them again with {HOW} and this teacher."
        )
    if meta.embedding_size != teacher.embedding_size:
        raise TeacherError(
            f"{where}: rows of {meta.embedding_size} values, teacher {teacher.name} gives {teacher.embedding_size}; expected one width. "
            f"Write them again with {HOW} and this teacher."
        )
    if data is None or str(data) == _SYNTHETIC:
        return
    found = data_set_hash(data)
    if found != meta.data:
        made_on = f" ({meta.labels['data']})" if meta.labels is not None else ""
        raise TeacherError(
            f"{where}: of a data set with hash {_short(meta.data)}{made_on}, the run's data {data} has {_short(found)}; expected one data "
            f"set. Train on what they were made of, or write them again with {HOW}."
        )
    if meta.labels is None and rank() == 0:
        print(f"{where}: of an earlier version, which did not note every label; taken as they are", flush=True)
    # The hash covers a sample of the images; names cover everybody.
    check_labels(meta.labels, label_order(data), where, TeacherError, f"Write them again with {HOW}.")


def check_classes(prototypes: Prototypes | None, num_classes: int) -> None:
    """Refuse prototypes of another number of identities than the head has."""
    if prototypes is not None and prototypes.meta.num_classes != num_classes:
        count = prototypes.meta.num_classes
        raise ShapeError(
            f"teacher.prototypes {prototypes.folder}: of {count} identities, the head has num_classes {num_classes}; expected as many. Set "
            f"num_classes to {count}, or write them of this data set with {HOW}."
        )


def start_terms(step: DistillationStep, prototypes: Prototypes | None) -> None:
    """Give the terms that need them a copy of the prototypes."""
    if prototypes is None:
        return
    for term in step.terms:
        if LOSSES[term.loss].needs_prototypes:
            rows, hardest = (torch.from_numpy(np.array(array)) for array in (prototypes.rows, prototypes.hardest))
            step.losses[term.name].start(rows, hardest)  # type: ignore[operator]


def _short(digest: str | None) -> str:
    return f"{digest[:12]}..." if digest else "unknown"
