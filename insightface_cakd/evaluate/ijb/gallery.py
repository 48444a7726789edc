"""The lists of 1:N identification: two galleries and the mixed probes."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.ijb.lists import Tree, require_known
from insightface_cakd.runtime.reading import reading

GALLERIES = {"IJBB": ("S1", "S2"), "IJBC": ("G1", "G2")}


@dataclass(frozen=True)
class Enrolment:
    """Templates and the subjects they show.

    Args:
        templates: int64 (T,), ids, ascending, each once.
        subjects: int64 (T,), ids.
    """

    templates: np.ndarray
    subjects: np.ndarray


@dataclass(frozen=True)
class Search:
    """Galleries, and probes whose subjects are in either or in none."""

    galleries: tuple[Enrolment, Enrolment]
    probes: Enrolment


def search_lists(tree: Tree) -> list[Path]:
    """Return the paths of the three lists: galleries, then probes."""
    return [tree.meta(f"1N_gallery_{name}.csv") for name in GALLERIES[tree.target]] + [tree.meta("1N_probe_mixed.csv")]


def read_search(tree: Tree, templates: np.ndarray) -> Search:
    """Read the lists of 1:N identification."""
    paths = search_lists(tree)
    first, second, probes = (_read_enrolment(path, templates) for path in paths)
    for path, gallery in zip(paths, (first, second), strict=False):
        subjects, counts = np.unique(gallery.subjects, return_counts=True)
        if counts.max() > 1:
            raise DataError(
                f"{path}: subject {subjects[counts.argmax()]} has {counts.max()} templates; expected one template a "
                "subject in a gallery. Get the file again."
            )
    return Search((first, second), probes)


def _read_enrolment(path: Path, templates: np.ndarray) -> Enrolment:
    """Read one list of templates and subjects.

    After a header, each line is `template,subject` and possibly more columns; there is one line per image or template.
    """
    expected = "a header line and lines of `template,subject`. Get the file again, or leave 1:N out with --protocol 11."
    with (
        reading(path, DataError, expected, UnicodeDecodeError, csv.Error),
        path.open(encoding="utf-8", newline="") as file,
    ):
        rows = list(csv.reader(file))[1:]
    table = np.array([_row(row, path, line) for line, row in enumerate(rows, 2) if row], np.int64).reshape(-1, 2)
    if not len(table):
        raise DataError(f"{path}: holds no line after its header; expected lines of `template,subject`. Get it again.")
    both = np.unique(table, axis=0)
    unique, counts = np.unique(both[:, 0], return_counts=True)
    if counts.max() > 1:
        raise DataError(
            f"{path}: template {unique[counts.argmax()]} shows {counts.max()} subjects; expected one. Get it again."
        )
    require_known(path, "lists", [unique], templates)
    return Enrolment(both[:, 0], both[:, 1])


def _row(row: list[str], path: Path, line: int) -> tuple[int, int]:
    try:
        return int(row[0]), int(row[1])
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path}, line {line}: {','.join(row)[:60]!r}; expected `template,subject`, whole numbers. Correct the line."
        ) from error
