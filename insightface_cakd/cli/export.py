"""`cakd export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("export")(_export)


def _export(
    run: Annotated[Path, typer.Argument(help="Output folder of a `cakd train`, or .pt weights with --network.")],
    out: Annotated[Path, typer.Argument(help="The .onnx to write.")],
    network: Annotated[str | None, typer.Option(help="Network of .pt weights; a run's folder knows its own.")] = None,
    exporter: Annotated[
        Literal["legacy", "dynamo"],
        typer.Option(help="legacy: opset 13, for old consumers; dynamo: opset 18, optimised."),
    ] = "legacy",
) -> None:
    """Student -> ONNX as InsightFace reads it, checked with onnxruntime at batch 1, 2, 32 and by insightface.model_zoo.

    Example: `cakd export work_dirs/student student.onnx`
    """
    from insightface_cakd.export.student import export_run
    from insightface_cakd.hosts.embedded.backbones import get_model

    print(export_run(run, out, get_model, network, exporter).summary())
