"""A folder of its own for each run, and runs of a small job on the checkout."""

import pytest

from insightface_cakd.tasks.launch import train
from tests.hosts.jobs import write_job
from tests.jobs import job


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder of its own, as one process."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, arcface_torch, face_set):
    """Run the small job on the checkout in this process; return its output folder."""
    config = write_job(folder, face_set)

    def start(output, *settings, **changes):
        given = {"config": str(config), "host": str(arcface_torch), **changes}
        train(job(settings=(f"output={output!r}", *settings), **given))
        return folder / output

    return start
