"""What a fix is: named, explained, applied for the length of a block, and taken back."""

import re
import sys
from contextlib import ExitStack
from dataclasses import replace as changed
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.compat import FIXES, Fix, applied
from insightface_cakd.hosts.compat.fix import replace
from insightface_cakd.hosts.compat.imports import after_import
from tests.hosts.checkouts import made_up_checkout


def fix(name, log, needed=True, changes_results=False):
    def apply(stack):
        log.append(f"{name} on")
        stack.callback(log.append, f"{name} off")

    why = (lambda: "it is needed") if needed else (lambda: None)
    return Fix(name, "x.py:1", "ever", f"does {name}", "never", why, apply, changes_results)


class TestApplied:
    """Which fixes a block switches on."""

    def test_those_that_this_process_needs_and_back_in_reverse_order(self):
        log = []
        with applied([fix("a", log), fix("b", log, needed=False), fix("c", log)]) as chosen:
            assert [one.name for one in chosen] == ["a", "c"]
        assert log == ["a on", "c on", "c off", "a off"]

    def test_taken_back_when_the_block_raises(self):
        log = []
        with pytest.raises(KeyError), applied([fix("a", log)]):
            raise KeyError
        assert log == ["a on", "a off"]

    def test_one_that_changes_results_only_when_asked_for_and_then_it_is_printed(self, capsys, monkeypatch):
        log = []
        fixes = [fix("a", log, changes_results=True)]
        with applied(fixes) as chosen:
            assert chosen == []
        assert capsys.readouterr().out == ""
        with applied(fixes, wanted=["a"]) as chosen:
            assert chosen == fixes
        assert capsys.readouterr().out == "fix a is on and changes results: does a\n"
        monkeypatch.setenv("RANK", "1")
        with applied(fixes, wanted=["a"]):
            assert capsys.readouterr().out == ""

    def test_not_one_that_is_unwanted(self):
        log = []
        with applied([fix("a", log), fix("b", log)], unwanted=["a"]) as chosen:
            assert [one.name for one in chosen] == ["b"]

    @pytest.mark.parametrize("given", [{"wanted": ["first"]}, {"unwanted": ["first"]}])
    def test_a_name_that_no_fix_has(self, given):
        with (
            pytest.raises(
                RunError, match=r"fix 'first': no such fix; known: .*first-step-lr.*Did you mean 'first-step-lr'"
            ),
            applied(FIXES, **given),
        ):
            pass


class TestReplace:
    """Attributes are put back as they were."""

    def test_an_attribute_returns(self):
        owner = SimpleNamespace(a=1)
        with ExitStack() as stack:
            replace(stack, owner, "a", 2)
            assert owner.a == 2
        assert vars(owner) == {"a": 1}

    def test_one_that_was_not_there_goes(self):
        owner = SimpleNamespace()
        with ExitStack() as stack:
            replace(stack, owner, "a", 2)
        assert vars(owner) == {}

    def test_an_inherited_one_is_inherited_again(self):
        class Base:
            a = 1

        class Child(Base):
            pass

        with ExitStack() as stack:
            replace(stack, Child, "a", 2)
            assert (Base.a, Child.a) == (1, 2)
        assert Child.a == 1
        assert "a" not in vars(Child)


class TestAfterImport:
    """A module of the checkout is changed when it is first imported."""

    def test_once_it_has_run(self, tmp_path, monkeypatch):
        folder = made_up_checkout(tmp_path / "host")
        monkeypatch.syspath_prepend(str(folder))
        seen = []
        with ExitStack() as stack:
            after_import(stack, "dataset", lambda module: seen.append(("first", module.ORIGIN)))
            after_import(stack, "dataset", lambda module: seen.append(("second", module.ORIGIN)))
            assert seen == []
            import dataset

            assert seen == [("first", "made up"), ("second", "made up")]
            assert dataset.__file__ == str(folder / "dataset.py")
        del sys.modules["dataset"]
        with ExitStack():
            import dataset
        assert len(seen) == 2
        del sys.modules["dataset"]

    def test_a_submodule(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(made_up_checkout(tmp_path / "host")))
        with ExitStack() as stack:
            after_import(stack, "utils.words", lambda module: setattr(module, "WORD", "changed"))
            from utils.words import WORD

            assert WORD == "changed"
        del sys.modules["utils"], sys.modules["utils.words"]

    def test_at_once_where_it_has_already_run(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "dataset", module := ModuleType("dataset"))
        seen = []
        with ExitStack() as stack:
            after_import(stack, "dataset", seen.append)
        assert seen == [module]

    def test_a_module_that_does_not_exist_stays_missing(self):
        finders = list(sys.meta_path)
        with ExitStack() as stack:
            after_import(stack, "no_such_module", lambda module: None)
            with pytest.raises(ModuleNotFoundError):
                __import__("no_such_module")
        assert sys.meta_path == finders


def test_names_are_unique_words_with_hyphens():
    names = [one.name for one in FIXES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)


@pytest.mark.parametrize("one", FIXES, ids=lambda one: one.name)
def test_every_fix_says_what_breaks_where_since_when_and_when_it_can_go(one):
    assert re.search(r"\.py:\d+", one.breaks), one.breaks
    assert all((one.since, one.fix, one.until))
    assert "\n" not in " ".join((one.breaks, one.since, one.fix, one.until))
    reason = one.applies()
    assert reason is None or reason


@pytest.mark.upstream
@pytest.mark.parametrize("one", FIXES, ids=lambda one: one.name)
def test_every_place_it_names_exists(one, arcface_torch):
    evaluation = arcface_torch.parent / "_evaluation_" / "ijb"
    for path, lines in re.findall(r"([\w/.]+\.py):(\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)", one.breaks):
        file = next((folder / path for folder in (arcface_torch, evaluation) if (folder / path).is_file()), None)
        assert file is not None, path
        last = max(int(number) for number in re.findall(r"\d+", lines))
        assert last <= len(file.read_text().splitlines()), (path, lines)


def test_all_of_them_together_leave_no_trace():
    owners = (torch, torch.jit, torch.cuda, torch.cuda.amp, torch.Tensor, torch.nn.Module, dist)
    owners += (torch.nn.parallel.DistributedDataParallel, torch.optim.lr_scheduler.LRScheduler)
    # timm is imported by a fix and stays, as any library does; its old layers must not.
    import timm.models

    before = [dict(vars(owner)) for owner in owners]
    finders, path, layers = list(sys.meta_path), list(sys.path), getattr(timm.models, "layers", None)
    names = [one.name for one in FIXES if one.changes_results]
    everywhere = [
        changed(one, applies=lambda: "always") for one in FIXES if one.name not in ("mxnet", "menpo", "ptflops")
    ]
    with applied(everywhere, wanted=names):
        assert [dict(vars(owner)) for owner in owners] != before
    assert [dict(vars(owner)) for owner in owners] == before
    assert (sys.meta_path, sys.path) == (finders, path)
    assert getattr(timm.models, "layers", None) is layers
    assert "timm.models.layers" not in sys.modules
