"""Every command of the command line."""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from insightface_cakd.cli import build


def command_tree(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words of a command and the command, then those below it; of `cakd` itself when none is given."""
    command = command or get_command(build())
    yield words, command
    for name, below in commands_below(command).items():
        yield from command_tree(below, (*words, name))


def commands_below(command: Any) -> dict[str, Any]:
    """Return the commands of a group by name; none of a command."""
    return getattr(command, "commands", {})
