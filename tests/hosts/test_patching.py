"""Patches go into a checkout and out of it: all or none, as often as one likes, and what a user changed is kept."""

import os
import subprocess

import pytest

from insightface_cakd.errors import PatchError
from insightface_cakd.hosts import patching
from insightface_cakd.hosts.patch_series import read_series
from insightface_cakd.hosts.patching import apply, revert, status
from tests.hosts.invented_checkout import CHANGES, INSIDE, PINNED, SHA256, after, contents, write, write_series


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    patches = tmp_path_factory.mktemp("patches")
    write_series(tmp_path_factory.mktemp("work"), patches)
    return patches


@pytest.fixture(autouse=True)
def use_series(series, monkeypatch):
    monkeypatch.setattr(patching, "read_series", lambda: read_series(series))
    monkeypatch.setattr(patching, "PINNED", SHA256)


@pytest.fixture
def checkout(tmp_path):
    """A checkout in no repository."""
    folder = tmp_path / INSIDE
    write(folder, PINNED)
    return folder


def names(patches):
    return [patch.name for patch in patches]


def test_all_go_in_and_all_come_out_byte_for_byte(checkout):
    (checkout / "train_v2.py").chmod(0o755)
    assert names(apply(checkout)) == list(CHANGES)
    assert contents(checkout) == after(*CHANGES)
    assert os.access(checkout / "train_v2.py", os.X_OK), "the file keeps its mode"
    assert names(revert(checkout)) == list(CHANGES)
    assert contents(checkout) == PINNED
    assert sorted(path.name for path in checkout.iterdir()) == sorted({name.split("/")[0] for name in PINNED})


def test_applying_twice_and_reverting_twice_changes_nothing_more(checkout):
    apply(checkout)
    assert apply(checkout) == []
    assert contents(checkout) == after(*CHANGES)
    revert(checkout)
    assert revert(checkout) == []
    assert contents(checkout) == PINNED


@pytest.mark.parametrize("first", ["seam", "modern-stack"])
def test_one_group_goes_in_or_out_whatever_the_other_does(first, checkout):
    seam, modern = ["0001-flag.patch"], ["0002-fixes.patch"]
    mine, others = (seam, modern) if first == "seam" else (modern, seam)
    assert names(apply(checkout, first)) == mine
    assert contents(checkout) == after(*mine)
    assert names(apply(checkout)) == others
    assert contents(checkout) == after(*CHANGES)
    assert names(revert(checkout, first)) == mine
    assert contents(checkout) == after(*others)


def test_status_tells_each_patch_apart(checkout):
    apply(checkout, "seam")
    with (checkout / "dataset.py").open("a") as file:
        file.write("# mine\n")
    assert [str(state) for state in status(checkout)] == [
        "applied         seam          0001-flag.patch: flag: does it",
        "does not apply  modern-stack  0002-fixes.patch: fixes: does it (dataset.py differs from the pinned one)",
    ]


def test_a_changed_file_is_refused_and_no_file_is_touched(checkout):
    with (checkout / "dataset.py").open("a") as file:
        file.write("# mine\n")
    before = contents(checkout)
    with pytest.raises(
        PatchError,
        match=r"^patch 0002-fixes\.patch cannot be applied to .*arcface_torch: dataset\.py differs from the pinned one; expected the "
        r"file of deepinsight/insightface@7fadd420\. Nothing was changed\. Undo the change of dataset\.py",
    ):
        apply(checkout)
    assert contents(checkout) == before
    assert names(apply(checkout, "seam")) == ["0001-flag.patch"], "a patch of other files is not held up"


def test_lines_put_above_an_insertion_do_not_move_it(checkout):
    """A patch without context would land anywhere."""
    shifted = "# mine\n" * 3 + PINNED["train_v2.py"]
    (checkout / "train_v2.py").write_text(shifted)
    with pytest.raises(PatchError, match=r"train_v2\.py differs from the pinned one"):
        apply(checkout, "seam")
    assert (checkout / "train_v2.py").read_text() == shifted


def test_a_missing_file_is_named(checkout):
    (checkout / "dataset.py").unlink()
    with pytest.raises(PatchError, match=r"0002-fixes\.patch cannot be applied to .*: dataset\.py is missing"):
        apply(checkout)
    assert (checkout / "train_v2.py").read_text() == PINNED["train_v2.py"]


def test_a_change_made_after_applying_stays_when_the_patches_go(checkout):
    apply(checkout)
    mine = "# mine\n" + after(*CHANGES)["train_v2.py"]
    (checkout / "train_v2.py").write_text(mine)
    assert all(state.applied for state in status(checkout))
    assert names(revert(checkout)) == list(CHANGES)
    assert contents(checkout) == PINNED | {"train_v2.py": "# mine\n" + PINNED["train_v2.py"]}


def test_a_patch_that_was_lost_in_one_file_is_put_back_there_and_leaves_the_others(checkout):
    apply(checkout)
    write(checkout, {"dataset.py": PINNED["dataset.py"]})
    assert names(apply(checkout)) == ["0002-fixes.patch"]
    assert contents(checkout) == after(*CHANGES)
    write(checkout, {"dataset.py": PINNED["dataset.py"]})
    revert(checkout)
    assert contents(checkout) == PINNED


def test_lines_of_another_version_are_told_and_left(checkout):
    apply(checkout)
    write(checkout, {"dataset.py": "from insightface_cakd.data.records import FaceRecords\n"})
    before = contents(checkout)
    for command in (status, apply, revert):
        with pytest.raises(
            PatchError,
            match=r"arcface_torch was patched by another version of insightface-cakd \(dataset\.py\); expected",
        ):
            command(checkout)
    assert contents(checkout) == before


def test_line_ends_of_windows_stay(checkout):
    write(checkout, {name: text.replace("\n", "\r\n") for name, text in PINNED.items()})
    apply(checkout)
    assert contents(checkout) == {name: text.replace("\n", "\r\n") for name, text in after(*CHANGES).items()}
    revert(checkout)
    assert contents(checkout) == {name: text.replace("\n", "\r\n") for name, text in PINNED.items()}


def test_patches_put_in_by_hand_count_as_in(checkout, series):
    by_hand = ["git", "apply", "--unidiff-zero", "-p1", str(series / "0002-fixes.patch")]
    subprocess.run(by_hand, cwd=checkout.parent.parent, check=True)
    assert names(apply(checkout)) == ["0001-flag.patch"]
    assert contents(checkout) == after(*CHANGES)


def test_a_failure_while_replacing_leaves_every_file_as_it_was(checkout, monkeypatch):
    real, calls = os.replace, []

    def replace_once(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace_once)
    with pytest.raises(PatchError, match=r"cannot be written \(No space left on device\).*Nothing was changed"):
        apply(checkout)
    assert len(calls) == 2
    assert contents(checkout) == PINNED
    assert not list(checkout.rglob(".*partial"))
