"""Patches go into a checkout and out of it: all or none, as often as one likes, and what a user changed is kept or refused."""

import os

import pytest

from insightface_cakd.errors import PatchError
from insightface_cakd.hosts import patching
from insightface_cakd.hosts.patch_series import read_series
from insightface_cakd.hosts.patching import apply, revert, status
from tests.hosts.invented_checkout import CHANGES, INSIDE, PINNED, after, contents, git, write, write_series


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    patches = tmp_path_factory.mktemp("patches")
    write_series(tmp_path_factory.mktemp("work"), patches)
    return patches


@pytest.fixture(autouse=True)
def use_series(series, monkeypatch):
    monkeypatch.setattr(patching, "read_series", lambda: read_series(series))


@pytest.fixture
def checkout(tmp_path):
    """A checkout in no repository."""
    folder = tmp_path / INSIDE
    write(folder, PINNED)
    return folder


@pytest.fixture
def clone(tmp_path):
    """A checkout with its git history."""
    write(tmp_path / "clone" / INSIDE, PINNED)
    git(tmp_path / "clone", "init", "-q")
    git(tmp_path / "clone", "add", ".")
    git(tmp_path / "clone", "commit", "-qm", "upstream")
    return tmp_path / "clone" / INSIDE


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
    seam, modern = ["0001-flag.patch"], ["0002-device.patch", "0003-wait.patch"]
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
        "does not apply  modern-stack  0002-device.patch: device: does it (dataset.py differs from the pinned one, and there is no "
        "git history to merge it with)",
        "does not apply  modern-stack  0003-wait.patch: wait: does it (dataset.py differs from the pinned one, and there is no git "
        "history to merge it with)",
    ]


def test_a_changed_file_without_history_is_refused_and_no_file_is_touched(checkout):
    with (checkout / "dataset.py").open("a") as file:
        file.write("# mine\n")
    before = contents(checkout)
    with pytest.raises(
        PatchError,
        match=r"^patch 0002-device\.patch cannot be applied to .*arcface_torch: dataset\.py differs from the pinned one, and there is "
        r"no git history to merge it with; expected the file of deepinsight/insightface@7fadd420\. Nothing was changed\. Undo",
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
    with pytest.raises(PatchError, match=r"0002-device\.patch cannot be applied to .*: dataset\.py is missing"):
        apply(checkout)
    assert (checkout / "train_v2.py").read_text() == PINNED["train_v2.py"]


def test_with_history_a_users_change_elsewhere_is_merged_and_kept(clone):
    mine = "# mine\n" + PINNED["train_v2.py"]
    (clone / "train_v2.py").write_text(mine)
    assert names(apply(clone)) == list(CHANGES)
    assert (clone / "train_v2.py").read_text() == "# mine\n" + after(*CHANGES)["train_v2.py"]
    assert all(state.applied for state in status(clone))
    assert names(revert(clone)) == list(CHANGES)
    assert contents(clone) == PINNED | {"train_v2.py": mine}
    assert git(clone, "diff", "--cached") == "", "the user's index is left alone"


def test_with_history_a_users_change_of_the_same_lines_is_refused(clone):
    write(clone, {"train_v2.py": PINNED["train_v2.py"].replace("'cuda'", "'cuda:1'")})
    before = contents(clone)
    with pytest.raises(
        PatchError,
        match=r"0002-device\.patch cannot be applied to .*: train_v2\.py was changed in the lines of a patch",
    ):
        apply(clone)
    assert contents(clone) == before


def test_a_change_made_after_applying_stays_when_the_patches_go(clone):
    apply(clone)
    (clone / "dataset.py").write_text("# mine\n" + after(*CHANGES)["dataset.py"])
    revert(clone)
    assert contents(clone) == PINNED | {"dataset.py": "# mine\n" + PINNED["dataset.py"]}


def test_without_history_a_change_made_after_applying_holds_the_patches_in(checkout):
    apply(checkout)
    with (checkout / "dataset.py").open("a") as file:
        file.write("# mine\n")
    before = contents(checkout)
    with pytest.raises(PatchError, match=r"patch 0002-device\.patch cannot be taken out of .*: dataset\.py differs"):
        revert(checkout)
    assert contents(checkout) == before


@pytest.mark.parametrize("ignored", [True, False], ids=["ignored", "untracked"])
def test_a_checkout_inside_another_repository(ignored, checkout, tmp_path):
    git(tmp_path, "init", "-q")
    if ignored:
        (tmp_path / ".gitignore").write_text("recognition/\n")
    apply(checkout)
    assert contents(checkout) == after(*CHANGES)
    revert(checkout)
    assert contents(checkout) == PINNED


def test_a_checkout_that_is_a_repository_of_its_own(checkout):
    git(checkout, "init", "-q")
    apply(checkout)
    assert contents(checkout) == after(*CHANGES)


def test_a_git_hook_around_us_does_not_redirect_git(checkout, clone, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(clone.parent.parent / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(clone.parent.parent))
    apply(checkout)
    assert contents(checkout) == after(*CHANGES)
    assert contents(clone) == PINNED


def test_line_ends_of_windows_stay(checkout):
    write(checkout, {name: text.replace("\n", "\r\n") for name, text in PINNED.items()})
    apply(checkout)
    assert contents(checkout) == {name: text.replace("\n", "\r\n") for name, text in after(*CHANGES).items()}
    revert(checkout)
    assert contents(checkout) == {name: text.replace("\n", "\r\n") for name, text in PINNED.items()}


def test_patches_put_in_by_hand_count_as_in(checkout, series):
    by_hand = ["apply", "--unidiff-zero", "-p1", str(series / "0003-wait.patch")]
    git(checkout.parent.parent, *by_hand)
    assert names(apply(checkout)) == ["0001-flag.patch", "0002-device.patch"]
    assert contents(checkout) == after(*CHANGES)


def test_without_git_one_line(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PatchError, match=r"^patch: git is not installed, or not on PATH; expected git 2\. Install it"):
        status(checkout)


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
