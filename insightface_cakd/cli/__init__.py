"""The `cakd` command: one file a group of subcommands."""

import sys

import typer

from insightface_cakd import __version__
from insightface_cakd.errors import CAKDError

app = typer.Typer(
    help="Distil a large face-recognition teacher into a small student, in arcface_torch's own training loop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"insightface-cakd {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; a user's mistake ends in one line on stderr and exit code 1."""
    from insightface_cakd.cli import data, doctor, evaluate, export, recipes, train

    for module in (train, evaluate, export, data, recipes, doctor):
        module.register(app)
    try:
        app()
    except CAKDError as error:
        print(f"cakd: error: {error}", file=sys.stderr)
        sys.exit(1)
