"""Training data of each task that brings its own."""

from collections.abc import Callable
from pathlib import Path

from insightface_cakd.data.faces.live import DOMAINS, write_live_faces
from tests.tasks.test_landmarks import write_part


def _points(faces: Path, folder: Path) -> Path:
    """Write points, with the people of the stages before."""
    write_part(folder, "train", 48, seed=1)
    write_part(folder, "dev", 8, seed=2)
    (folder / "identities").symlink_to(faces, target_is_directory=True)
    return folder


def _live(_: Path, folder: Path) -> Path:
    """Write 24 faces in each of two domains to train on, and in one to test."""
    write_live_faces(folder, people=6, pictures=2, seed=1)
    return (folder / DOMAINS[-1].name).rename(folder / "dev").parent


DATA: dict[str, Callable[[Path, Path], Path]] = {"landmarks": _points, "liveness": _live}


def task_data(task: str, faces: Path, folder: Path) -> Path:
    """Return a folder of a task's training data, made where the faces of a run do not do."""
    return DATA[task](faces, folder) if task in DATA else faces
