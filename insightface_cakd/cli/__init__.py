"""The `cakd` command line, with one file per group of subcommands.

Commands import what they run only when they run, so that `--help` is fast.
"""

import shlex
import sys
import traceback

import typer

from insightface_cakd import __version__
from insightface_cakd.errors import CAKDError, in_one_line, reason_of
from insightface_cakd.runtime.foreign import anything_foreign

HELP = "Distil a large face-recognition teacher into a small student, in arcface_torch's own training loop."


def build() -> typer.Typer:
    """Return the command with all its subcommands.

    The modules of the subcommands are imported here, not by `import insightface_cakd`.
    """
    from insightface_cakd.cli import (
        compare,
        cost,
        data,
        doctor,
        evaluate,
        export,
        faces,
        host,
        patch,
        recipes,
        runs,
        show,
        train,
    )
    from insightface_cakd.cli.options import take_former_names

    app = typer.Typer(
        help=HELP,
        callback=_root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (train, cost, compare, runs, evaluate, faces, show, export, data, recipes, host, patch, doctor):
        module.register(app)
    take_former_names(app)
    return app


def main() -> None:
    """Run the command line.

    A user's mistake ends with one line on stderr and exit code 1, a fault of this package with its traceback and a line that says so.
    """
    try:
        with anything_foreign():
            build()()
    except CAKDError as error:
        print(f"cakd: error: {in_one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        traceback.print_exception(error)
        print(_our_fault(error), file=sys.stderr)
        sys.exit(1)


def _our_fault(error: Exception) -> str:
    """Return the line that ends the traceback of a fault of this package."""
    return (
        f"cakd: a fault of insightface_cakd {__version__} ({reason_of(error)}), not of what it was given; please report it with the lines "
        f"above and this command: {shlex.join(['cakd', *sys.argv[1:]])}"
    )


def _version(asked: bool) -> None:
    if asked:
        print(f"insightface-cakd {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    pass
