"""Any script of a checkout, run as Python would run it: found, finished, and its mistakes told in one line."""

import json
import sys
import textwrap
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from insightface_cakd.cli import host as host_commands
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.packages import how_to_install
from insightface_cakd.hosts.scripts import find_script, run_script
from insightface_cakd.runtime.foreign import TRACEBACK
from tests.hosts.checkouts import made_up_checkout

TELL = """
import json, os, sys
import losses, beside
if __name__ == "__main__":
    json.dump([sys.argv, os.getcwd(), sys.path[0], __file__, beside.WORD], open(sys.argv[1], "w"))
    sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = made_up_checkout(tmp_path / "recognition" / "arcface_torch")
    (folder / "scripts").mkdir()
    (tmp_path / "recognition" / "_evaluation_" / "ijb").mkdir(parents=True)
    return folder


def write(path: Path, code: str) -> Path:
    path.write_text(textwrap.dedent(code))
    return path


# As Python would


def test_a_script_sees_what_python_would_show_it(checkout: Path, tmp_path: Path, monkeypatch):
    write(checkout / "scripts" / "tell.py", TELL)
    write(checkout / "scripts" / "beside.py", "WORD = 'beside'")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path, arguments, main = list(sys.path), list(sys.argv), sys.modules["__main__"]
    assert run_script("scripts/tell.py", ["told.json", "7"], checkout) == 7
    script = str(checkout / "scripts" / "tell.py")
    told = json.loads((tmp_path / "elsewhere" / "told.json").read_text())
    assert told == [
        [script, "told.json", "7"],
        str(tmp_path / "elsewhere"),
        str(checkout / "scripts"),
        script,
        "beside",
    ]
    assert (sys.path, sys.argv, sys.modules["__main__"]) == (path, arguments, main)
    assert "losses" not in sys.modules
    sys.modules.pop("beside")


@pytest.mark.parametrize(("leave", "code"), [("", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('sorry')", 1)])
def test_the_exit_code_is_the_scripts(checkout: Path, capsys, leave: str, code: int):
    write(checkout / "leave.py", f"import sys\n{leave}")
    assert run_script("leave.py", host=checkout) == code
    assert ("sorry" in capsys.readouterr().err) == ("sorry" in leave)


def test_the_fixes_are_on_while_it_runs_and_can_be_left_out(checkout: Path):
    write(checkout / "old.py", "import numpy as np\nimport mxnet\nassert np.int is int")
    assert run_script("old.py", host=checkout) == 0
    with pytest.raises(RunError, match="np.int|no attribute 'int'"):
        run_script("old.py", host=checkout, unwanted=["numpy-names"])
    with pytest.raises(RunError, match="fix 'numpy-nams': no such fix.*Did you mean 'numpy-names'"):
        run_script("old.py", host=checkout, unwanted=["numpy-nams"])


# Where it is


def test_a_script_is_looked_up_in_the_checkout_then_around_it_then_as_a_path(
    checkout: Path, tmp_path: Path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ours = find_checkout(checkout)
    ijb = write(tmp_path / "recognition" / "_evaluation_" / "ijb" / "ijb_evals.py", "")
    own = write(tmp_path / "here" / "own.py", "")
    write(tmp_path / "here" / "losses.py", "")
    assert find_script(ours, "losses.py") == checkout / "losses.py"
    assert find_script(ours, "../_evaluation_/ijb/ijb_evals.py") == ijb
    assert find_script(ours, "_evaluation_/ijb/ijb_evals.py") == ijb
    assert find_script(ours, "own.py") == own
    assert find_script(ours, str(own)) == own


def test_a_script_that_does_not_exist_is_told_with_the_nearest(checkout: Path, tmp_path: Path):
    write(checkout / "eval_ijbc.py", "parser.parse_args()")
    write(tmp_path / "recognition" / "_evaluation_" / "ijb" / "ijb_evals.py", "if __name__ == '__main__': pass")
    message = r"host run ijb_eval.py: no such file in .*arcface_torch, .*Nearest: \.\./_evaluation_/ijb/ijb_evals.py"
    with pytest.raises(RunError, match=message):
        run_script("ijb_eval.py", host=checkout)
    with pytest.raises(RunError, match=r"host run eval_ijbb.py: .*Nearest: eval_ijbc.py"):
        run_script("eval_ijbb.py", host=checkout)


# What goes wrong


def test_an_exception_is_told_in_one_line_with_file_and_line(checkout: Path):
    write(
        checkout / "breaks.py",
        """
        def read():
            return int("a\\nb" * 400)
        read()
        """,
    )
    with pytest.raises(RunError) as caught:
        run_script("breaks.py", host=checkout)
    told = str(caught.value)
    assert f"breaks.py stopped at {checkout}/breaks.py:3: ValueError: invalid literal for int()" in told
    assert "\n" not in told
    assert len(told) < 600
    assert TRACEBACK in told


def test_an_exception_without_a_text_is_told_by_its_line(checkout: Path):
    write(checkout / "breaks.py", "assert 1 > 2")
    with pytest.raises(RunError, match=r"breaks.py:1: AssertionError: assert 1 > 2\."):
        run_script("breaks.py", host=checkout)


def test_the_traceback_is_printed_when_asked_for(checkout: Path, monkeypatch, capsys):
    write(checkout / "breaks.py", "raise KeyError('x')")
    with pytest.raises(RunError):
        run_script("breaks.py", host=checkout)
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(RunError):
        run_script("breaks.py", host=checkout)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_call_of_mxnet_that_is_not_served_is_told_with_the_hosts_line(checkout: Path):
    write(checkout / "old.py", "import mxnet as mx\n\nmx.model.load_checkpoint('r100', 1)")
    with pytest.raises(RunError, match=r"arcface_torch/old.py:3: mxnet stand-in: mxnet.model is not served"):
        run_script("old.py", host=checkout)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            ModuleNotFoundError("No module named 'pandas'", name="pandas"),
            'pandas: pip install "insightface-cakd[host]"',
        ),
        (ModuleNotFoundError("no", name="skimage.transform"), "scikit-image: pip install"),
        (ImportError("`Import tabulate` failed. Use pip to install the tabulate package."), "tabulate: pip install"),
        (ModuleNotFoundError("no", name="onnxsim"), "pip install onnxsim"),
        (
            ModuleNotFoundError("no", name="embedding"),
            "nothing to install: the file is not in insightface's repository",
        ),
        (ModuleNotFoundError("no", name="mxnet.autograd"), "nothing to install: the stand-in has no such part"),
        (ImportError("cannot import name 'x' from 'torch'", name="torch"), "installed version does not have it"),
    ],
)
def test_a_missing_package_is_told_with_how_to_install_it(error: ImportError, advice: str):
    assert advice in how_to_install(error)


def test_a_missing_package_is_told_at_the_line_that_wants_it(checkout: Path):
    write(checkout / "wants.py", "import not_to_be_found")
    with pytest.raises(RunError, match=r"wants.py:1: ModuleNotFoundError: .*Install it: pip install not_to_be_found"):
        run_script("wants.py", host=checkout)


# The command


def command() -> typer.Typer:
    app = typer.Typer()
    host_commands.register(app)
    app.command("other")(lambda: None)
    return app


def test_the_command_passes_arguments_behind_two_dashes_and_the_exit_code(checkout: Path):
    write(checkout / "tell.py", "import sys\nprint(sys.argv[1:])\nsys.exit(5)")
    arguments = ["host", "run", "tell.py", "--host", str(checkout), "--", "a", "--network", "r18", "--", "-x"]
    result = CliRunner().invoke(command(), arguments)
    assert "['a', '--network', 'r18', '--', '-x']" in result.output
    assert result.exit_code == 5


def test_the_command_shows_the_traceback_on_demand(checkout: Path, monkeypatch):
    monkeypatch.setenv(TRACEBACK, "")
    write(checkout / "breaks.py", "raise KeyError('x')")
    result = CliRunner().invoke(command(), ["host", "run", "breaks.py", "--host", str(checkout), "--traceback"])
    assert "Traceback (most recent call last)" in result.stderr
    assert isinstance(result.exception, RunError)


def test_without_a_checkout_the_command_says_what_to_give(monkeypatch):
    monkeypatch.delenv("ARCFACE_TORCH", raising=False)
    with pytest.raises(RunError, match="expected an arcface_torch checkout"):
        run_script("inference.py")
