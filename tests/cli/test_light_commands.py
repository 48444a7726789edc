"""Help, and what is said of recipes, come at once: the heavy libraries stay where they are."""

import os
import subprocess
import sys

from insightface_cakd.recipe import recipe_name, shipped_recipes
from tests.cli.command_tree import command_tree

HEAVY = ("torch", "timm", "onnx", "onnxruntime", "numpy", "matplotlib")
# Runs command lines in one process, and prints each that brought a heavy library in.
SCRIPT = f"""
import contextlib, io, sys
from typer.main import get_command
from insightface_cakd.cli import build

there = set()
for line in sys.stdin.read().splitlines():
    with contextlib.redirect_stdout(io.StringIO()):
        get_command(build()).main(line.split(), prog_name="cakd", standalone_mode=False)
    new = set({HEAVY}) & set(sys.modules) - there
    there |= new
    if new:
        print(f"cakd {{line}} imports {{', '.join(sorted(new))}}")
"""


def test_help_and_recipes_import_no_heavy_library():
    recipes = [recipe_name(path) for path in shipped_recipes()]
    lines = [*(" ".join([*words, "--help"]) for words, _ in command_tree()), "recipes list"]
    assert len(lines) > 25
    assert len(recipes) > 40
    lines += [f"recipes {command} {name}" for command in ("show", "check") for name in recipes]
    run = subprocess.run([sys.executable, "-c", SCRIPT], input="\n".join(lines), capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, ""), run.stdout + run.stderr


def test_the_shell_completes_commands():
    environment = {**os.environ, "_CAKD_COMPLETE": "complete_bash", "COMP_WORDS": "cakd ru", "COMP_CWORD": "1"}
    script = "from insightface_cakd.cli import main; main()"
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['cakd']; {script}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.split() == ["runs"], said.stderr
