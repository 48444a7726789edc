"""`cakd host run`: the scripts of an arcface_torch checkout."""

import os
from typing import Annotated

import typer

from insightface_cakd.cli.options import Fixes, Host, NoFixes

HELP = "Run an unmodified checkout's scripts on today's stack."
RUN_HELP = """Run a script of the checkout to its end.

As `python SCRIPT ARGS` would.

SCRIPT is looked up in the checkout, in recognition/ around it, and as a path. The working directory stays as it is.
Without --host, $ARCFACE_TORCH is the checkout.

Examples:

    cakd host run torch2onnx.py -- model.pt --network mbf --output model.onnx

    cakd host run ../_evaluation_/ijb/ijb_evals.py --host insightface -- -m model.onnx -d IJB -s IJBC
"""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command("run", help=RUN_HELP)(_run)
    app.add_typer(group, name="host")


def _run(
    script: Annotated[str, typer.Argument(help="As upstream writes it: eval_ijbc.py, scripts/shuffle_rec.py.")],
    args: Annotated[list[str] | None, typer.Argument(help="After --: what the script gets.")] = None,
    host: Host = None,
    wanted: Fixes = None,
    unwanted: NoFixes = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of an error.")] = False,
) -> None:
    from insightface_cakd.hosts.scripts import run_script
    from insightface_cakd.runtime.foreign import TRACEBACK

    if traceback:
        os.environ[TRACEBACK] = "1"
    code = run_script(script, args or (), host, wanted or (), unwanted or ())
    if code:
        raise typer.Exit(code)
