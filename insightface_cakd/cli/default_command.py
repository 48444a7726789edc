"""A command that has subcommands beside its own arguments: `cakd export RUN OUT` and `cakd export pack`."""

from typing import Any

from typer.core import TyperCommand


class WithSubcommands(TyperCommand):
    """A command whose first argument may be the name of a subcommand.

    A folder of that name is given as `./name`.

    Args:
        args: of the command.
        kwargs: of the command.
    """

    commands: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands = {}

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return the context of the command that is meant."""
        chosen = self.commands.get(args[0]) if args else None
        if chosen is None:
            return super().make_context(info_name, args, parent, **extra)
        return chosen.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
