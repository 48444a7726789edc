"""The predictions of `docs/scale.md` are what its commands print."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from tests.commands import cakd

PAGE = (Path(__file__).resolve().parent.parent / "docs/scale.md").read_text("utf-8")
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^cakd cost .*$", PAGE, re.MULTILINE)]
TESTED = "torch 2.14"


@pytest.mark.slow
@pytest.mark.skipif(not f"torch {torch.__version__}".startswith(TESTED), reason=f"counted with {TESTED}")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_table_is_what_its_command_prints(command):
    ran = cakd(*command)
    assert ran.code == 0, ran.err
    _, assumptions, table = ran.out.strip().split("\n\n")
    assert table in PAGE
    assert assumptions in PAGE


def test_the_page_has_commands_and_they_differ():
    assert len(set(map(tuple, COMMANDS))) == len(COMMANDS) >= 4
