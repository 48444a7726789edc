"""Commands of `cakd` run in this process, and what the refusal of one must look like."""

import hashlib
import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import yaml

import benchmarks.__main__
from insightface_cakd.cli import main

ERROR = "cakd: error: "
SMALL = {
    "batch_size": 12,
    "num_epoch": 1,
    "warmup_epoch": 0,
    "num_workers": 0,
    "frequent": 2,
    "device": "cpu",
    "embedding_size": 64,
}


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


def cakd(*arguments: object) -> Ran:
    """Run a command as the console script does."""
    return run("cakd", main, *arguments)


def benchmark(*arguments: object) -> Ran:
    """Run a yardstick as `python -m benchmarks` does."""
    return run("benchmarks", benchmarks.__main__.main, *arguments)


def run(name: str, main: Callable[[], None], *arguments: object) -> Ran:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    return Ran(code, out.getvalue(), err.getvalue())


def train(data: Path, *more: object, output: Path | str = "out", **settings: object) -> list[str]:
    """Return the arguments of a training run of a few steps."""
    chosen = {"rec": str(data), **SMALL, **settings}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value!r}")]
    return ["train", "faces_cnn_tiny", "--output", str(output), *sets, *map(str, more)]


def write_recipe(path: Path, *losses: dict, **teacher: object) -> Path:
    """Write a recipe; cosine under a tiny ViT where nothing else is said."""
    losses = losses or ({"loss": "cosine", "weight": 64},)
    path.write_text(yaml.safe_dump({"teacher": {"network": "vit_tiny", **teacher}, "losses": list(losses)}))
    return path


def contents(folder: Path) -> dict[str, str]:
    """Return every path below a folder with a digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
        for path in sorted(folder.rglob("*"))
    }


def refused(arguments: list[object], message: str, watched: Path) -> str:
    """Run a command that must end in exit code 1 and one line that says why, and must leave a folder as it was.

    Args:
        arguments: of the command.
        message: regular expression that the line after `cakd: error: ` must match from its beginning.
        watched: inputs and outputs lie below it.
    """
    return _refused(cakd, arguments, message, watched)


def benchmark_refused(arguments: list[object], message: str, watched: Path) -> str:
    """Run a yardstick that must be refused; see `refused`."""
    return _refused(benchmark, arguments, message, watched, "benchmarks: error: ")


def _refused(
    command: Callable[..., Ran], arguments: list[object], message: str, watched: Path, error: str = ERROR
) -> str:
    before = contents(watched)
    line = error_line(command(*arguments), error)
    assert re.match(message, line), line
    after = contents(watched)
    assert after == before, f"changed: {sorted(set(after.items()) ^ set(before.items()))}"
    return line


def error_line(ran: Ran, error: str = ERROR) -> str:
    """Return the one line with which a command refused, without its first words."""
    assert ran.code == 1, f"exit code {ran.code}: {ran.err}"
    assert "Traceback" not in ran.err
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert [line.startswith(error) for line in lines[-2:]] in ([True], [False, True]), ran.err
    return lines[-1].removeprefix(error)
