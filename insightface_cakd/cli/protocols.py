"""Protocols as commands: `cakd eval NAME`."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from insightface_cakd.cli.options import Batch, Device, Json, MaxCorrupt, Network, Seed
from insightface_cakd.evaluate.protocol import described, find_protocol

if TYPE_CHECKING:
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.report.result import Result

Model = Annotated[str, typer.Argument(help="An .onnx, a run's folder, or .pt weights with --network.")]
Page = Annotated[Path | None, typer.Option("--report", help="Write the tables to this .html, a page of its own.")]

# Options of protocols that mean the same in other commands.
COMMON: dict[str, Any] = {"max_corrupt": MaxCorrupt, "seed": Seed}


class Group(TyperGroup):
    """A group of commands that accepts protocols outside the package too."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name, or that of the protocol `package.module:Class`."""
        if ":" not in cmd_name:
            return super().get_command(ctx, cmd_name)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name)(command_of(cmd_name))
        return typer.main.get_command(app)


def command_of(name: str) -> Callable[..., None]:
    """Return the command that runs a protocol.

    Its options are those of the protocol, and those shared by all protocols: how to run, and where to write.
    """
    kind = find_protocol(name)
    text, helps = described(kind)
    hints = get_type_hints(kind)
    own = [
        _keyword(
            one.name,
            COMMON.get(one.name) or Annotated[hints[one.name], typer.Option(help=helps.get(one.name))],
            _default(one),
        )
        for one in fields(kind)  # type: ignore[arg-type]
    ]
    data = Annotated[list[Path], typer.Argument(help=kind.takes, metavar=kind.metavar)]
    shared = {"network": (Network, None), "batch": (Batch, 64), "device": (Device, None), "json": (Json, None)}
    signature = [
        _keyword("model", Model),
        _keyword("data", data),
        *own,
        *(_keyword(key, *both) for key, both in shared.items()),
        _keyword("report", Page, None),
    ]

    def run(
        model: Any, data: Any, network: Any, batch: Any, device: Any, json: Any, report: Any, **options: Any
    ) -> None:
        from insightface_cakd.api.evaluation import evaluate
        from insightface_cakd.networks.entries import read_entries
        from insightface_cakd.runtime.devices import process_group
        from insightface_cakd.runtime.progress import progress_bar

        how = {"network": network, "batch_size": batch, "device": device, "bar": progress_bar}
        # Ranks stay together until the first of them has written.
        with process_group():
            result = evaluate(model, data, name, **how, **options)
            (entry,) = read_entries([model], network)
            say(result, json, report, f"{name}: {entry.name}")

    run.__doc__ = text
    run.__annotations__ = {}
    run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return run


def say(result: "Result", json: Path | None, page: Path | None = None, title: str = "") -> None:
    """Print a result, and write its numbers and its page if requested.

    Of several ranks, which all have it, the first does.
    """
    from insightface_cakd.runtime.ranks import rank

    if rank() != 0:
        return
    print(result.text(), end="")
    if json is not None:
        from insightface_cakd.runtime.atomic import write_json

        write_json(json, result.facts())
    if page is not None:
        from insightface_cakd.report.run_report import write_result

        write_result(page, title, result)


def execution_of(device: str | None, batch: int) -> "Execution":
    """Return the settings of a measurement, with a progress bar on stderr."""
    from insightface_cakd.evaluate.execution import Execution
    from insightface_cakd.runtime.devices import choose_device
    from insightface_cakd.runtime.progress import progress_bar

    return Execution(choose_device(device), batch, bar=progress_bar, shared=True)


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default
