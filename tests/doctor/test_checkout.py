"""What the doctor says of a checkout itself: whether it can be imported, what it lacks, which fixes are on."""

import pytest

from insightface_cakd.doctor import checkout
from insightface_cakd.doctor.checkout import examine_fixes
from insightface_cakd.hosts.compat import Fix
from tests.doctor.asking import of, texts
from tests.hosts.checkouts import made_up_checkout


def test_a_folder_that_is_no_checkout_and_its_data(tmp_path, records):
    found = of(tmp_path, config="own", data=records)
    assert texts(found, "problem")[0].startswith(f"--host {tmp_path}: no arcface_torch in it or around it")
    assert "--config: not looked at, since there is no checkout that can be imported." in texts(found, "note")
    assert f"{records}: 6 images of 3 people, labels 0 to 2" in texts(found, "ok")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train_v2": "import os\n"},
            "train_v2.py: get_model, CombinedMarginLoss, PartialFC_V2 not bound at module level",
        ),
        (
            {"losses": "import nothing_there\n"},
            "losses.py:1: ModuleNotFoundError: No module named 'nothing_there', on importing",
        ),
        (
            {"losses": "1 / 0\n"},
            "losses.py:1: ZeroDivisionError: division by zero, on importing train_v2; expected code that",
        ),
        ({"losses": "def f(:\n"}, "losses.py:1: SyntaxError: "),
    ],
)
def test_a_checkout_that_cannot_be_imported(files, message, tmp_path):
    folder = made_up_checkout(tmp_path / "arcface_torch", **files)
    found = of(folder, config="own")
    told = texts(found, "problem")
    assert len(told) == 1
    assert told[0].startswith(f"{folder}/{message}")
    assert "--config: not looked at, since there is no checkout that can be imported." in texts(found, "note")


def test_a_name_that_no_fix_has_and_a_fix_left_out(host):
    assert texts(of(host, fixes=("mean-gradien",)), "problem")[0].startswith(
        "fix 'mean-gradien': no such fix; known: mxnet,"
    )
    (host / "losses.py").write_text("1 / 0\n")
    told = texts(of(host, no_fixes=("menpo",)), "problem")
    assert told[0].endswith("It may need what --no-fix left out: menpo.")


def test_packages_of_training_are_needed_those_of_scripts_are_not(host, monkeypatch):
    monkeypatch.setattr(checkout, "missing_host_packages", lambda: ["pandas", "torchvision"])
    found = of(host)
    assert texts(found, "problem") == [
        'packages: torchvision not installed; arcface_torch\'s training imports them. pip install "insightface-cakd[host]"'
    ]
    assert (
        'packages: pandas not installed; scripts of `cakd host run` import them. pip install "insightface-cakd[host]"'
        in texts(found, "note")
    )


def test_what_is_said_of_each_kind_of_fix(monkeypatch):
    def fix(name, why, changes_results=False):
        return Fix(name, "a.py:1: breaks", "1.0", "mends it", "2.0", lambda: why, lambda _: None, changes_results)

    fixes = (
        fix("on", "old"),
        fix("idle", None),
        fix("asked", "old", True),
        fix("unasked", "old", True),
        fix("out", "old"),
    )
    monkeypatch.setattr(checkout, "FIXES", fixes)
    assert [str(finding) for finding in examine_fixes(("asked",), ("out",))] == [
        "note    fix on is on (old): mends it. Without it: a.py:1: breaks",
        "note    fix asked is on and changes results (old): mends it. Without it: a.py:1: breaks",
        "note    fix unasked is off, since it changes results: a.py:1: breaks. --fix unasked switches it on: mends it",
        "note    fix out is left out by --no-fix, though old: a.py:1: breaks",
        "ok      fixes not needed here: idle",
    ]
