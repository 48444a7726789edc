"""The boundary: a foreign fault is a line that names it, one of this package stays one, whatever was raised."""

import pytest

from insightface_cakd.errors import RecipeError, RunError, TeacherError
from insightface_cakd.losses import LOSSES
from insightface_cakd.runtime.foreign import TRACEBACK, anything_foreign, foreign, is_ours


class SilentError(Exception):
    def __str__(self):
        raise RuntimeError("it cannot say what it is")


def call(raised):
    raise raised


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("two\n  lines"), r"ValueError: two lines"),
        (SystemExit(3), r"SystemExit: 3"),
        (SystemExit(0), r"SystemExit: 0"),
        (BaseException("base"), r"BaseException: base"),
        (StopIteration(), r"StopIteration"),
        (SilentError(), r"SilentError"),
        (MemoryError(), r"MemoryError"),
        (ValueError("x" * 10_000), r"ValueError: x{288}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_foreign_code_raises_is_one_line(raised, said):
    expected = "a network. Correct it."
    with (
        pytest.raises(
            TeacherError, match=rf"^teacher x: fails \({said}\); expected a network\. Correct it\.$"
        ) as caught,
        foreign("teacher x", TeacherError, expected),
    ):
        call(raised)
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [RecipeError("a line of our own"), KeyboardInterrupt(), GeneratorExit()])
def test_a_line_and_an_interruption_pass(raised):
    with pytest.raises(type(raised)) as caught, foreign("teacher x", TeacherError, "more"):
        call(raised)
    assert caught.value is raised


def test_a_fault_in_an_object_of_this_package_passes():
    loss = LOSSES["cosine"]()
    assert is_ours(loss)
    assert is_ours(type(loss))
    assert not is_ours(SilentError)
    assert not is_ours(len)
    with pytest.raises(KeyError), foreign("term 'cosine'", RunError, "a number", of=loss):
        call(KeyError("x"))
    with pytest.raises(KeyError), anything_foreign():
        call(KeyError("x"))


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            OSError(36, "File name too long", "x" * 5000),
            r"^x{300}: cannot be used \(File name too long\); expected a path",
        ),
        (OSError(5, "Input/output error"), r"^a file: cannot be used \(Input/output error\); expected a path"),
        (MemoryError(), r"^memory: not enough for what was asked \(MemoryError\); expected sizes that fit"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 5 bytes"),
            r"^memory: not enough .* 5 bytes",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), r"^memory: not enough .*Tried to allocate 2 GiB"),
        (
            ValueError("embedded null byte"),
            r"^a name or path \(embedded null byte\); expected text in UTF-8, without NUL",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_machine_refuses_is_no_fault_of_this_package(raised, said):
    with pytest.raises(RunError, match=said), anything_foreign():
        call(raised)


def test_the_traceback_is_printed_on_request(monkeypatch, capsys):
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(RunError), foreign("view x", RunError, "images"):
        call(ValueError("deep inside"))
    assert "in call" in capsys.readouterr().err
