"""The files in `patches/`: headers, order, and how little of upstream they quote. And, on a checkout, plain git is enough."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from insightface_cakd.hosts.git import blob_id
from insightface_cakd.hosts.patch_series import INSIDE, read_series
from insightface_cakd.hosts.pinned import PINNED, PINNED_COMMIT
from insightface_cakd.runtime.shipped import shipped_folder
from tests import test_patched_training, test_patches

FOLDER = shipped_folder("patches")
SERIES = read_series()
HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@(.*)$")
FIELDS = ["From", "Subject", "Description", "Reason", "Base", "Forwarded", "Remove-when", "Test", "Last-Update"]


def hunks(patch):
    """Yield file, first old line, removed lines, added lines and what stands behind the @@ of each hunk."""
    lines = patch.text.partition("\n---\n")[2].splitlines()
    file = None
    while lines:
        line = lines.pop(0)
        if line.startswith("+++ b/"):
            file = line.removeprefix("+++ b/" + INSIDE)
        elif match := HUNK.match(line):
            old, new = (int(match[group] or 1) for group in (2, 3))
            body, lines = lines[: old + new], lines[old + new :]
            removed = [text[1:] for text in body if text.startswith("-")]
            added = [text[1:] for text in body if text.startswith("+")]
            assert (len(removed), len(added)) == (old, new), f"{patch.name}: a line of context at {line}"
            yield file, int(match[1]), removed, added, match[4]
        else:
            assert line.startswith(("diff --git a/", "index ", "--- a/")), f"{patch.name}: {line}"


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
def test_each_patch_is_small_and_quotes_only_the_lines_it_replaces(patch):
    found = list(hunks(patch))
    assert {file for file, *_ in found} == set(patch.files)
    assert sum(len(removed) + len(added) for _, _, removed, added, _ in found) < 30
    assert not any(heading for *_, heading in found), "git's heading behind @@ is a line of upstream too"
    for _, _, removed, added, _ in found:
        if patch.group == "seam":
            assert not removed
        else:
            assert removed, "an insertion alone has nothing that git could place it by"
            assert added, "nor has a deletion when it is taken back"
            assert not set(removed) & {line for line in added if line.strip()}, "a line is quoted without being changed"


def test_the_readme_lists_every_patch():
    text = (FOLDER / "README.md").read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| 00")] == [
        patch.name.removesuffix(".patch") for patch in SERIES
    ]


@pytest.mark.upstream
def test_the_quoted_lines_are_those_of_the_pinned_files(arcface_torch):
    for patch in SERIES:
        for file, blob in patch.files.items():
            assert file in PINNED
            assert blob_id((arcface_torch / file).read_bytes()) == blob
        for file, first, removed, _, _ in hunks(patch):
            lines = (arcface_torch / file).read_text().splitlines()
            assert lines[first - 1 : first - 1 + len(removed)] == removed


def by_hand(folder, *names, reverse=False):
    options = ["--unidiff-zero", *["--reverse"] * reverse]
    for name in names:
        subprocess.run(["git", "apply", *options, str(FOLDER / name)], cwd=folder, check=True, capture_output=True)


def clone_of(arcface_torch, tmp_path):
    """Return a repository with the touched files where a clone of insightface has them."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for file in {file for patch in SERIES for file in patch.files}:
        target = Path(tmp_path, INSIDE, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((arcface_torch / file).read_bytes())
    return tmp_path


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder, INSIDE).rglob("*.py")}


@pytest.mark.upstream
def test_patches_of_one_file_give_the_same_in_either_order_and_each_comes_out_alone(arcface_torch, tmp_path):
    """The one thing that plain git cannot see to: patches without context are placed by line numbers."""
    clone = clone_of(arcface_torch, tmp_path)
    pinned = contents(clone)
    pairs = [
        (one.name, other.name)
        for one, other in itertools.combinations(SERIES, 2)
        if one.files.keys() & other.files.keys()
    ]
    alone = {}
    for patch in SERIES:
        by_hand(clone, patch.name)
        alone[patch.name] = contents(clone)
        by_hand(clone, patch.name, reverse=True)
        assert contents(clone) == pinned, patch.name
    for one, other in pairs:
        by_hand(clone, one, other)
        both = contents(clone)
        by_hand(clone, one, reverse=True)
        assert contents(clone) == alone[other], f"{one} out of {other}"
        by_hand(clone, one)
        assert contents(clone) == both, f"{one} after {other}"
        by_hand(clone, other, reverse=True)
        assert contents(clone) == alone[one], f"{other} out of {one}"
        by_hand(clone, one, reverse=True)


@pytest.mark.upstream
def test_the_whole_series_goes_in_and_out_with_plain_git(arcface_torch, tmp_path):
    clone = clone_of(arcface_torch, tmp_path)
    pinned = contents(clone)
    names = [patch.name for patch in SERIES]
    by_hand(clone, *reversed(names))
    backwards = contents(clone)
    by_hand(clone, *names, reverse=True)
    assert contents(clone) == pinned
    by_hand(clone, *names)
    assert contents(clone) == backwards
