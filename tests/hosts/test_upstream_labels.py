"""Checkpoints of a checkout say whose label is which, to the checkout and to the other host."""

import pytest
import torch

from insightface_cakd.data.label_order import LABELS
from insightface_cakd.errors import RunError
from insightface_cakd.tasks.launch import train
from tests.data.record_files import people_folder
from tests.hosts.jobs import write_job
from tests.jobs import job

pytestmark = pytest.mark.upstream
TWELVE = {str(number): 4 for number in range(1, 13)}


@pytest.fixture
def start(folder, arcface_torch):
    """Run the small job on folders 1 to 12; either host."""
    people_folder(folder / "people", TWELVE)
    config = write_job(folder, folder / "people")

    def run(on, epochs, resume=False):
        settings = ("output='out'", "save_all_states=true", f"num_epoch={epochs}")
        host = {"host": str(arcface_torch)} if on == "checkout" else {}
        more = () if host else ("device='cpu'",)
        train(job(str(config), settings=(*settings, *more), resume=resume, **host))
        return torch.load("out/checkpoint_gpu_0.pt", weights_only=True)

    return run


@pytest.mark.parametrize("second", ["checkout", "embedded"])
def test_both_hosts_refuse_other_labels_and_go_on_with_the_same(second, start, folder, capsys):
    saved = start("checkout", 1)[LABELS]
    assert (saved["data"], saved["classes"]) == (str(folder / "people"), 12)
    assert start(second, 2, resume=True)[LABELS] == saved
    assert LABELS not in capsys.readouterr().out
    for name in TWELVE:
        (folder / "people" / name).rename(folder / "people" / f"{int(name):02}")
    with pytest.raises(
        RunError, match=r"resume: out/checkpoint_gpu_0\.pt: made on .*labels stand for other people"
    ) as refused:
        start(second, 3, resume=True)
    assert "\n" not in str(refused.value)
    assert torch.load("out/checkpoint_gpu_0.pt", weights_only=True)["epoch"] == 2


def test_a_checkpoint_without_them_is_taken_with_a_word(start, capsys):
    content = start("checkout", 1)
    del content[LABELS]
    torch.save(content, "out/checkpoint_gpu_0.pt")
    capsys.readouterr()
    start("checkout", 2, resume=True)
    assert (
        "resume: out/checkpoint_gpu_0.pt does not say whose label is which; taken as it is" in capsys.readouterr().out
    )
