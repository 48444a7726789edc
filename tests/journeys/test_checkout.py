"""Somebody with a checkout of arcface_torch: would it start, a run under a teacher, an upstream script."""

import pytest

from insightface_cakd.data.faces.sets import write_face_set
from tests.journeys.printed import Shell, printed

pytestmark = [pytest.mark.slow, pytest.mark.upstream]
# The README's folder of a million faces is a smaller one here, and a run has one epoch, of one step.
DATA, FEW = "/data/ms1m", " --set num_epoch=1"


@pytest.fixture(scope="module")
def desk(shared_data, arcface_torch, tmp_path_factory):
    """A folder with a clone of insightface, a recogniser and faces."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "insightface").symlink_to(arcface_torch.parent.parent)
    (folder / "w600k_r50.onnx").symlink_to(shared_data / "models" / "edgeface_xs.onnx")
    write_face_set(folder / "ms1m", people=36, pictures=4, pairs=20, seed=7)
    for name in ("lfw", "cfp_fp", "agedb_30"):
        (folder / "ms1m" / f"{name}.bin").symlink_to("dev.bin")
    return folder


def test_the_commands_of_the_section_run_on_the_checkout_and_change_nothing_in_it(desk, arcface_torch):
    def state():
        return {path: path.stat().st_mtime_ns for path in sorted(arcface_torch.rglob("*")) if path.suffix != ".pyc"}

    before = state()
    shell = Shell(desk)
    install, doctor, train, host = (
        line.replace(DATA, "ms1m") for line in printed("You have a checkout of arcface_torch")
    )
    assert install.startswith("pip install ")
    assert "no problem: a run would start" in shell.run(doctor)
    shell.run(train + FEW)
    (weights,) = desk.rglob("model.pt")
    assert weights.stat().st_size > 1_000_000
    assert "usage: " in shell.run(host)
    assert state() == before
