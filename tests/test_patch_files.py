"""The files in `patches/`: headers, order, and how little of upstream they quote. And, on a checkout, plain git is enough."""

import re
import subprocess
from pathlib import Path

import pytest

from insightface_cakd.hosts.patch_series import INSIDE, read_series
from insightface_cakd.hosts.patching import apply
from insightface_cakd.hosts.pinned import PINNED, PINNED_COMMIT
from insightface_cakd.runtime.shipped import shipped_folder
from tests import test_patched_training, test_patches

FOLDER = shipped_folder("patches")
SERIES = read_series()
FIELDS = ["From", "Subject", "Description", "Reason", "Base", "Forwarded", "Remove-when", "Test", "Last-Update"]


def test_series_and_folder_agree():
    names = [patch.name for patch in SERIES]
    assert sorted(names) == names == sorted(path.name for path in FOLDER.glob("*.patch"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert [patch.group for patch in SERIES] == ["seam", *["modern-stack"] * (len(SERIES) - 1)]


def test_upstream_names_the_pinned_commit():
    facts = dict(line.split(": ", 1) for line in (FOLDER / "UPSTREAM").read_text().splitlines())
    assert facts["repository"] == "https://github.com/deepinsight/insightface"
    assert facts["commit"].startswith(PINNED_COMMIT)
    assert facts["folder"] + "/" == INSIDE


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name)
def test_each_patch_says_what_it_does_why_and_when_it_goes(patch):
    assert list(patch.header) == FIELDS
    assert re.fullmatch(r"\[PATCH\] [a-z_0-9]+: .{10,60}", patch.header["Subject"])
    assert patch.header["Reason"] in ("seam", "host-bug", "numerics")
    assert patch.header["Base"] == f"deepinsight/insightface@{PINNED_COMMIT} recognition/arcface_torch"
    assert re.fullmatch(r"no|https://\S+", patch.header["Forwarded"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", patch.header["Last-Update"])
    file, _, test = patch.header["Test"].partition("::")
    where = {"tests/test_patches.py": test_patches, "tests/test_patched_training.py": test_patched_training}
    assert callable(getattr(where[file], test))


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name)
def test_each_patch_is_small_and_quotes_no_line_of_upstream(patch):
    hunks = patch.hunks.values()
    assert sum(len(hunk.removed) + len(hunk.added) for hunk in hunks) < 30
    assert not any(line for hunk in hunks for line in hunk.removed), "only empty lines are replaced"
    assert len(re.findall("^@@ .* @@$", patch.text, re.MULTILINE)) == len(patch.hunks), (
        "git's heading is a line of upstream"
    )


def test_the_readme_lists_every_patch():
    text = (FOLDER / "README.md").read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| 00")] == [
        patch.name.removesuffix(".patch") for patch in SERIES
    ]


@pytest.mark.upstream
def test_the_replaced_lines_are_those_of_the_pinned_files(arcface_torch):
    for patch in SERIES:
        for name, hunk in patch.hunks.items():
            assert name in PINNED
            lines = (arcface_torch / name).read_bytes().split(b"\n")
            assert tuple(lines[hunk.start : hunk.start + len(hunk.removed)]) == hunk.removed


def by_hand(folder, *names, reverse=False):
    options = ["--unidiff-zero", *["--reverse"] * reverse]
    for name in names:
        subprocess.run(["git", "apply", *options, str(FOLDER / name)], cwd=folder, check=True, capture_output=True)


def clone_of(arcface_torch, tmp_path):
    """Return a repository with the touched files where a clone of insightface has them."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for file in {file for patch in SERIES for file in patch.hunks}:
        target = Path(tmp_path, INSIDE, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((arcface_torch / file).read_bytes())
    return tmp_path


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder, INSIDE).rglob("*.py")}


@pytest.mark.upstream
def test_plain_git_gives_the_same_as_the_command_in_either_order(arcface_torch, tmp_path):
    """The one thing that plain git cannot see to: patches without context are placed by line numbers."""
    clone = clone_of(arcface_torch, tmp_path)
    pinned = contents(clone)
    names = [patch.name for patch in SERIES]
    apply(clone / INSIDE)
    patched = contents(clone)
    for order in (names, names[::-1]):
        by_hand(clone, *order, reverse=True)
        assert contents(clone) == pinned
        for name in order:
            by_hand(clone, name)
        assert contents(clone) == patched
        for name in order:
            by_hand(clone, name, reverse=True)
        assert contents(clone) == pinned
        by_hand(clone, *order)
