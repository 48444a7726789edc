"""A user's mistakes with a checkout: one line each, before the first step."""

import pytest
import torch.distributed as dist

from insightface_cakd.errors import CAKDError, DataError, RunError
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from tests.data.record_files import insightface_set
from tests.hosts.checkouts import copy_of

pytestmark = pytest.mark.upstream


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        (("num_classes=5",), RunError, r"data: has labels up to 11, num_classes is 5; .*Set num_classes=12"),
        (("batch_size=64",), RunError, r"48 images; expected at least one batch of 64"),
        (("rec='nowhere'",), DataError, r"nowhere: no train.rec and no folders of people"),
        (("num_epochs=2",), RunError, r"the config has no key 'num_epochs'; .*Did you mean 'num_epoch'"),
        (("num_epoch=none",), RunError, r"config: num_epoch is not set; a run needs it"),
        (("resume=true",), RunError, r"resume: .*checkpoint_gpu_0.pt does not exist; .*save_all_states=True"),
    ],
)
def test_in_the_config(settings, kind, message, run, folder):
    with pytest.raises(kind, match=message) as raised:
        run("out", *settings)
    assert "\n" not in str(raised.value)
    assert not (folder / "out").exists()
    assert not dist.is_initialized()


def test_a_config_that_does_not_exist(run):
    with pytest.raises(RunError, match=r"config configs/ms1mv3_mfb: no such file, .*Did you mean 'ms1mv3_mbf'"):
        run("out", config="configs/ms1mv3_mfb")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1\ny = 1 / 0\n", r"config .*bad.py:2: ZeroDivisionError: division by zero"),
        ("x = (\n", r"config .*bad.py:1: SyntaxError"),
        ("x = 1\n", r"config .*: AttributeError: .*config.*expected a file that sets `config`"),
    ],
)
def test_a_config_that_raises_or_sets_nothing(content, message, run, folder):
    (folder / "bad.py").write_text(content)
    with pytest.raises(RunError, match=message) as raised:
        run("out", config="bad.py")
    assert "\n" not in str(raised.value)


def test_host_code_that_raises_at_import(run, folder, arcface_torch):
    copy = copy_of(arcface_torch, folder / "arcface_torch")
    with (copy / "losses.py").open("a") as file:
        file.write("\nimport package_that_is_not_there\n")
    line = len((copy / "losses.py").read_text().splitlines())
    with pytest.raises(RunError, match=rf"losses.py:{line}: ModuleNotFoundError while importing train_v2: .*not_there"):
        run("out", host=str(copy))


def test_fixes_without_a_checkout(run):
    with pytest.raises(RunError, match=r"--fix, --no-fix: given without --host"):
        train(Job("faces_cnn_tiny", fixes=("first-step-lr",)))


def test_a_record_that_cannot_be_read_stops_the_run_instead_of_hanging_it(run, folder):
    data = insightface_set(folder / "broken", [6] * 12)
    content = bytearray((data / "train.rec").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    (data / "train.rec").write_bytes(content)
    with pytest.raises(CAKDError, match=r"not an image|train.rec") as raised:
        run("out", f"rec={str(data)!r}", "num_image=72", "num_workers=1")
    assert "\n" not in str(raised.value)
