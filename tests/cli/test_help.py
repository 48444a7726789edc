"""What `--help` prints: whole sentences, in a fraction of a second."""

import os
import resource
import subprocess
import sys

import pytest

from tests.cli.command_tree import command_tree, commands_below
from tests.commands import cakd

COLUMNS = 80
# What every command imports, and the CPU seconds of that on an idle core.
LIBRARIES = "import typer, yaml; from pydantic import BaseModel, TypeAdapter"
IDLE = 0.25


@pytest.mark.parametrize("words", [words for words, command in command_tree() if commands_below(command)], ids=" ".join)
def test_no_summary_is_cut(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    lines = cakd(*words, "--help").out.splitlines()
    commands = lines[lines.index("Commands:") + 1 :]
    assert commands
    assert all(line.startswith("  ") and len(line) <= COLUMNS for line in commands)
    assert [line for line in commands if line.endswith("...")] == []


def cpu_seconds(script):
    """Return the CPU seconds of a Python script, with modules compiled."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def idle_seconds(words):
    """Return what a command would take on an idle core: the least of four runs, each beside one of the libraries alone."""
    script = f"import sys; sys.argv = {['cakd', *words]}; from insightface_cakd.cli import main; main()"
    return min(cpu_seconds(script) * min(1, IDLE / cpu_seconds(LIBRARIES)) for _ in range(4))


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (["--help"], 0.4),
        (["doctor", "--help"], 0.7),
        (["recipes", "--help"], 0.7),
        (["recipes", "list"], 0.7),
        (["recipes", "show", "cakd"], 0.7),
        (["recipes", "check", "cakd"], 0.7),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_help_and_recipes_come_at_once(words, most):
    assert idle_seconds(words) < most
