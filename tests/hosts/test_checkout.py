"""A user's checkout: found from any folder of a clone, recognised by its files, imported without a trace."""

import sys
from types import ModuleType

import pytest

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.checkout import NAMES, bound_names, find_checkout, top_level_names
from insightface_cakd.hosts.pinned import PINNED
from tests.hosts.checkouts import copy_of, made_up_checkout


@pytest.fixture
def clone(tmp_path):
    """Return a clone of insightface with a made-up arcface_torch in it."""
    root = tmp_path / "insightface"
    (root / ".git").mkdir(parents=True)
    (root / "python-package" / "insightface").mkdir(parents=True)
    made_up_checkout(root / "recognition" / "arcface_torch")
    return root


@pytest.mark.parametrize(
    "inside",
    [
        ".",
        "recognition",
        "recognition/arcface_torch",
        "recognition/arcface_torch/configs",
        "python-package/insightface",
    ],
)
def test_it_is_found_from_any_folder_of_a_clone(clone, inside):
    assert find_checkout(clone / inside).folder == clone / "recognition" / "arcface_torch"


def test_the_environment_names_it_when_nothing_is_given(clone, monkeypatch):
    monkeypatch.setenv("ARCFACE_TORCH", str(clone))
    assert find_checkout().folder == clone / "recognition" / "arcface_torch"


def test_nothing_given_and_nothing_in_the_environment(monkeypatch):
    monkeypatch.delenv("ARCFACE_TORCH", raising=False)
    with pytest.raises(RunError, match=r"--host: no folder, and ARCFACE_TORCH is not set; expected .*git clone"):
        find_checkout()


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(RunError, match=r"--host .*gone: no such folder; expected an arcface_torch checkout"):
        find_checkout(tmp_path / "gone")


def test_a_folder_that_is_no_checkout_is_not_taken_for_its_neighbour(clone):
    other = clone.parent / "other"
    other.mkdir()
    with pytest.raises(RunError, match=r"--host .*other: no arcface_torch in it or around it; .*git clone"):
        find_checkout(other)


def test_the_environment_is_named_where_it_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCFACE_TORCH", str(tmp_path))
    with pytest.raises(RunError, match=r"ARCFACE_TORCH=.*: no arcface_torch in it"):
        find_checkout()


def test_a_checkout_before_partial_fc_v2_is_too_old(tmp_path):
    folder = made_up_checkout(tmp_path / "old", partial_fc_v2="class PartialFC:\n    pass\n")
    with pytest.raises(RunError, match=r"old: too old, it has no partial_fc_v2.PartialFC_V2; .*git pull"):
        find_checkout(folder)


@pytest.mark.parametrize(
    ("train", "missing"),
    [
        (
            "import backbones\nfrom losses import CombinedMarginLoss\nfrom partial_fc_v2 import PartialFC_V2\n",
            "get_model",
        ),
        (
            "from backbones import get_model\n\ndef main():\n    CombinedMarginLoss = PartialFC_V2 = None\n",
            "CombinedMarginLoss, PartialFC_V2",
        ),
    ],
)
def test_a_train_script_without_one_of_the_three_names_is_named_before_anything_is_imported(tmp_path, train, missing):
    checkout = find_checkout(made_up_checkout(tmp_path / "changed", train_v2=train + "raise SystemExit\n"))
    with pytest.raises(RunError, match=rf"train_v2.py: {missing} not bound at module level; expected .*7fadd420"):
        checkout.require_seam()


def test_a_train_script_that_is_not_python_is_named_with_its_line(tmp_path):
    checkout = find_checkout(made_up_checkout(tmp_path / "changed", train_v2="import os\ndef main(:\n"))
    with pytest.raises(RunError, match=r"train_v2.py:2: cannot be read as Python"):
        checkout.require_seam()


def test_names_are_bound_by_imports_definitions_and_assignments_at_top_level_only():
    import ast

    source = "import a.b\nfrom c import d as e\ntry:\n    f = 1\nexcept E as _:\n    g: int = 2\ndef h():\n    i = 3\nclass J:\n    k = 4\n"
    assert bound_names(ast.parse(source)) == {"a", "e", "f", "g", "h", "J"}


def test_top_level_names_are_modules_and_packages_but_not_folders_of_documents(clone):
    names = top_level_names(clone / "recognition" / "arcface_torch")
    assert {"train_v2", "backbones", "utils", "losses", "dataset", "partial_fc_v2"} <= names
    assert "docs" not in names


class TestImported:
    """Inside `imported` host code runs; afterwards nothing of it is left."""

    def test_host_modules_are_the_hosts_and_are_gone_afterwards(self, clone, monkeypatch):
        mine = ModuleType("utils")
        monkeypatch.setitem(sys.modules, "utils", mine)
        modules, path = dict(sys.modules), list(sys.path)
        checkout = find_checkout(clone)
        with checkout.imported():
            assert checkout.load("utils.words").WORD == "host"
            assert checkout.load("train_v2").main.__module__ == "train_v2"
        assert sys.modules["utils"] is mine
        assert dict(sys.modules) == modules
        assert sys.path == path

    def test_also_when_host_code_raises_or_changes_the_path(self, tmp_path):
        folder = made_up_checkout(
            tmp_path / "host", dataset="import sys\nsys.path.append('/nowhere')\n\nraise KeyError('no\\nway')\n"
        )
        modules, path = dict(sys.modules), list(sys.path)
        checkout = find_checkout(folder)
        with checkout.imported(), pytest.raises(RunError) as raised:
            checkout.load("dataset")
        assert str(raised.value).startswith(f"{folder / 'dataset.py'}:4: KeyError while importing dataset: ")
        assert "\n" not in str(raised.value)
        assert dict(sys.modules) == modules
        assert sys.path == path

    def test_a_syntax_error_is_named_with_its_line(self, tmp_path):
        checkout = find_checkout(made_up_checkout(tmp_path / "host", losses="x = 1\ny = = 2\n"))
        with checkout.imported(), pytest.raises(RunError, match=r"losses.py:2: SyntaxError while importing train_v2"):
            checkout.load("train_v2")

    def test_the_folder_is_left_as_it_was(self, clone, monkeypatch):
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        checkout = find_checkout(clone)
        before = sorted(clone.rglob("*"))
        with checkout.imported():
            checkout.load("train_v2")
        assert sorted(clone.rglob("*")) == before
        assert sys.dont_write_bytecode is False

    def test_two_checkouts_one_after_the_other_do_not_mix(self, clone, tmp_path):
        second = made_up_checkout(tmp_path / "second", dataset="ORIGIN = 'second'\n")
        origins = []
        for folder in (clone, second):
            checkout = find_checkout(folder)
            with checkout.imported():
                origins.append(checkout.load("dataset").ORIGIN)
        assert origins == ["made up", "second"]


@pytest.mark.upstream
class TestUpstream:
    """The real thing."""

    def test_the_pinned_commit_is_recognised(self, arcface_torch):
        checkout = find_checkout(arcface_torch)
        assert (checkout.version, checkout.changed, checkout.commit) == ("pinned", (), "7fadd420")
        assert str(checkout).endswith("arcface_torch: pinned (7fadd420)")
        checkout.require_seam()

    def test_line_ends_of_windows_added_files_and_changed_configs_do_not_make_it_another(self, arcface_torch, tmp_path):
        folder = copy_of(arcface_torch, tmp_path / "arcface_torch")
        script = folder / "losses.py"
        script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
        (folder / "mine.py").write_text("x = 1\n")
        (folder / "configs" / "base.py").write_text("config = {}\n")
        assert find_checkout(folder).version == "pinned"

    def test_a_changed_and_a_missing_file_are_named(self, arcface_torch, tmp_path):
        folder = copy_of(arcface_torch, tmp_path / "arcface_torch")
        with (folder / "losses.py").open("a") as file:
            file.write("# mine\n")
        (folder / "flops.py").unlink()
        checkout = find_checkout(folder)
        assert (checkout.version, checkout.changed) == ("modified", ("flops.py", "losses.py"))
        assert str(checkout).endswith("modified; differs in flops.py, losses.py")

    def test_every_code_file_outside_configs_has_a_fingerprint(self, arcface_torch):
        files = {file.relative_to(arcface_torch).as_posix() for file in arcface_torch.rglob("*.py")}
        assert {name for name in files if not name.startswith("configs/")} == set(PINNED)

    def test_the_three_names_are_there(self, arcface_torch):
        checkout = find_checkout(arcface_torch)
        with checkout.imported():
            for module, name in zip(("backbones", "losses", "partial_fc_v2"), NAMES, strict=True):
                assert hasattr(checkout.load(module), name)
        assert not {"backbones", "losses", "partial_fc_v2"} & set(sys.modules)
