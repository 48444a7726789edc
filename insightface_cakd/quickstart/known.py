"""The quickstarts by the name of their task."""

from collections.abc import Callable
from pathlib import Path

from insightface_cakd.errors import RunError, did_you_mean
from insightface_cakd.quickstart import identification, landmarks, liveness, lowres, periocular, synthetic
from insightface_cakd.runtime.folder_lock import only_writer

IDENTIFICATION = "identification"
# Called with the output folder, which must be new or empty, and the seed.
QUICKSTARTS: dict[str, Callable[[Path, int], None]] = {
    "landmarks": landmarks.quickstart,
    "liveness": liveness.quickstart,
    "lowres": lowres.quickstart,
    "periocular": periocular.quickstart,
    "synthetic": synthetic.quickstart,
}


def run_quickstart(task: str, output: Path, faces: Path | None, seed: int, teacher: str | None) -> None:
    """Run the quickstart of a task.

    Args:
        task: `identification`, or one of `QUICKSTARTS`.
        output: a new or empty folder for everything that is written.
        faces: aligned faces, one folder per person, for identification only; None draws faces.
        seed: seed of data, weights and order.
        teacher: a recogniser's file, for identification only; None trains one.

    Raises:
        CAKDError: no such task, faces or a teacher for another task, the output folder is in use, or a step failed.
    """
    if task not in (IDENTIFICATION, *QUICKSTARTS):
        known = (IDENTIFICATION, *QUICKSTARTS)
        raise RunError(f"--task {task}: not known; known: {', '.join(known)}.{did_you_mean(task, known)}")
    if faces is not None and task != IDENTIFICATION:
        raise RunError(f"--data: given with --task {task}, whose quickstart makes its own data. Leave --data out.")
    if teacher is not None and task != IDENTIFICATION:
        raise RunError(f"--teacher: given with --task {task}, whose quickstart trains its own. Leave --teacher out.")
    with only_writer(output):
        if task == IDENTIFICATION:
            identification.quickstart(output, faces, seed, teacher)
        else:
            QUICKSTARTS[task](output, seed)
