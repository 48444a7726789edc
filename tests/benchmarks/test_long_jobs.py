"""`python -m benchmarks jobs`: any long job on several ranks, killed, and compared."""

import pytest
import torch

from benchmarks.long_jobs import contents, long_jobs
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import benchmark


def test_a_command_without_a_place_for_its_result_is_refused(tmp_path):
    with pytest.raises(RunError, match="has no word OUT; expected one where the result goes"):
        long_jobs(tmp_path / "jobs", "data cache-teacher cosine data cache", 2, 1, 0)


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(RunError, match="is not empty; expected a new folder"):
        long_jobs(tmp_path, "data cache-teacher cosine data OUT", 2, 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("job", ["cache-teacher", "prototypes"])
def test_ranks_and_kills_change_no_byte(job, face_set, tmp_path):
    torch.save(get_model("vit_tiny").eval().state_dict(), tmp_path / "teacher.pt")
    command = f"data {job} cosine {face_set} OUT --teacher {tmp_path / 'teacher.pt'} --readers 0"
    ran = benchmark("jobs", tmp_path / "jobs", command, "--kills", 2)
    assert ran.code == 0, ran.out + ran.err
    assert ran.out.count("equal") == 3
    whole, killed = (contents(tmp_path / "jobs" / name) for name in ("one", "killed"))
    assert whole == killed
    assert len(whole) == 4
